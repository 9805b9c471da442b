"""A scenario: traffic, a daemon that is watched, something that breaks, and the judge.

    with scenario(kafka, clickhouse) as s:
        s.load.go_on(1_000)
        with s.fault("RENAME TABLE {db}.run_steps TO {db}.away", "RENAME TABLE {db}.away TO {db}.run_steps"):
            s.wait_until_unready("run_steps")
            s.load.go_on(1_000)
        s.wait_until_ready()
        s.load.go_on(500)
        s.judge()

`scenario(..., clickhouse__url=proxy.url)` puts a `FaultyProxy` (`tests.support.faulty_proxy`) between daemon and
ClickHouse; the judge always asks the real one. `s.join()` starts another member of the group. End processes by
`s.drain(member)` or `s.kill(member)`, so that the judge knows what they had counted; it ends the others itself.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import NoError
from kafka.structs import OffsetAndMetadata

from pipeline.tools.simulation import SimulatedEvent
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.daemon import HTTP_OK, Daemon, running_daemon
from tests.support.group_offsets import group_offsets
from tests.support.oracle import Load, Place, Truth, drained, place, repeating, summed, traffic
from tests.support.outside_view import MEGABYTE, Watch

SECRET: Final = "hunter2"  # noqa: S105 - passwords of the scenarios hold it, and no log may
MORE_MEMORY: Final = 100 * MEGABYTE
"""What a process may take on top of what it had when it began: two small batches, and what Kafka hands it ahead."""
QUICK: Final = {
    "batch__max_rows": 500,
    "retry__max_delay": 1,
    "http__final_scrape": 20,
    # So little is handed ahead that growing memory would show.
    "kafka__fetch_max_bytes": 4 * MEGABYTE,
    "kafka__max_partition_fetch_bytes": MEGABYTE,
}


class Scenario:
    """One run; made by `scenario`.

    Attributes:
        there: where it takes place.
        load: the traffic.
        daemon: the first member.
    """

    def __init__(self, there: Place, load: Load, watch: Watch, stack: ExitStack, settings: dict[str, Any]) -> None:
        self.there = there
        self.load = load
        self._watch = watch
        self._stack = stack
        self._settings = settings
        self._members: list[Daemon] = []
        self._last: list[str] = []
        self._killed = False
        self._watch.start()
        self.daemon = self.join()

    def join(self, **settings: Any) -> Daemon:
        """Start another member of the group, with the scenario's settings and these."""
        member = self._stack.enter_context(running_daemon(*self.there, **{**self._settings, **settings}))
        self._members.append(member)
        self._watch.add(member)
        return member

    def drain(self, member: Daemon) -> None:
        """End a member cleanly."""
        self._last.append(drained(member))

    def kill(self, member: Daemon) -> None:
        """End a member by SIGKILL: what it had counted and was not scraped yet is gone."""
        code, text = member.get("/metrics")
        self._last.append(text if code == HTTP_OK else "")
        self._killed = True
        member.kill()

    def doubt(self) -> None:
        """Let counters be below the truth: a member that lost its partitions may not know what it committed."""
        self._killed = True

    def rewind(self) -> None:
        """Set the group back to the beginning of the topic, as an operator may who has ended all members.

        What is read again is counted again, so only what is counted from now on is compared.
        """
        with closing(KafkaAdminClient(bootstrap_servers=self.there.kafka.bootstrap)) as admin:
            places = group_offsets(admin, self.daemon.group)
            done = admin.alter_group_offsets(
                self.daemon.group, {place: OffsetAndMetadata(0, "", -1) for place in places}
            )
        assert {str(error) for error in done.values()} == {str(NoError)}, done
        self._last.clear()

    def sql(self, statement: str) -> str:
        """Run a statement on the real ClickHouse, `{db}` being the database; return the answer's text."""
        return self.there.clickhouse.query(statement.replace("{db}", self.there.database))

    @contextmanager
    def fault(self, begin: str | Callable[[], object], lift: str | Callable[[], object]) -> Iterator[None]:
        """Break something and, at the end of the block, fix it; statements for ClickHouse, or functions."""
        self._do(begin)
        yield
        self._do(lift)

    def wait_until_unready(self, cause: str) -> None:
        """Wait until /readyz of the first member says 503 and names a cause."""
        self.daemon.wait_until_unready(cause)

    def wait_until_ready(self) -> None:
        """Wait until the first member is ready."""
        self.daemon.wait_until_ready()

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample of the first member's /metrics, 0 where there is none."""
        return self.daemon.metrics().get((name, frozenset(labels.items())), 0.0)

    def judge(
        self,
        *,
        written_once: bool = False,
        more_memory: int = MORE_MEMORY,
        truth: Callable[[Place, Sequence[SimulatedEvent], int], Truth] = Truth,
    ) -> Truth:
        """Stop the load, wait until all is accounted for, end everybody, and compare with the truth.

        Args:
            written_once: whether nothing may even have been written twice, to be merged later.
            more_memory: bytes that a process may take in addition while it runs.
            truth: how the truth is made, where Kafka's log is not what it was.
        """
        self.load.stop()
        next(member for member in self._members if member.running).wait_until_accounted(120)
        for member in self._members:
            if member.running:
                self.drain(member)
        self._watch.close()
        true = truth(self.there, self.load.produced, int(time.time() * 1000))
        true.check_tables(written_once=written_once)
        true.check_dead_letters()
        self._judge_counters(true)
        assert self._watch.commits, "no commit was seen"
        ahead = self._watch.ahead((key[0], key[1]) for key in true.model.ledger)
        assert not ahead, f"committed, and not in the ledger: {ahead[:3]}"
        assert self._watch.grown() < more_memory, f"grown by {self._watch.grown() / MEGABYTE:.0f} MB"
        assert self._watch.ill == [], "a fault outside is no reason to restart the daemon"
        self._judge_logs()
        return true

    def _judge_counters(self, truth: Truth) -> None:
        counted = summed(self._last)
        wrong = truth.excess(counted) if self._killed else truth.difference(counted)
        assert not wrong, wrong
        if self._killed:
            return
        records = sum(value for name, value in counted.items() if name.startswith("runstep_records_total"))
        assert records == truth.records

    def _judge_logs(self) -> None:
        texts = "".join(member.log(1_000_000) for member in self._members)
        assert SECRET not in texts
        steps = [step for event in self.load.produced for step in event.steps]
        ids = {word for step in steps for word in (step.step_id, step.run_id, step.thread_id)}
        quoted = ids.intersection(re.findall(r"\w{12,}", texts))
        quoted |= {step.error_message for step in steps if step.error_message and step.error_message in texts}
        assert not quoted, f"the log quotes records: {sorted(quoted)[:5]}"

    def _do(self, what: str | Callable[[], object]) -> None:
        self.sql(what) if isinstance(what, str) else what()


@contextmanager
def scenario(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    *,
    events: Iterable[SimulatedEvent] | None = None,
    rate: float = 1_000,
    **settings: Any,
) -> Iterator[Scenario]:
    """Make topics and tables, start the traffic and a daemon that is ready.

    Args:
        kafka: the cluster.
        clickhouse: the server, for the tables and for the judge.
        events: the traffic; without end by default.
        rate: events a second; 0 is as fast as Kafka takes them.
        settings: of the daemon, on top of small batches and short waits.
    """
    stream = repeating(traffic(4), 4) if events is None else events
    with place(kafka, clickhouse) as there, Load(there, stream, rate) as load, ExitStack() as stack:
        watch = Watch(there)
        stack.callback(watch.close)
        yield Scenario(there, load, watch, stack, {**QUICK, **settings})
