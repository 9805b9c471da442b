"""A daemon without threads: the real processor, writer, insertion and attempts, each thread of theirs an actor.

Owns what a process is to the world: something that can be killed, frozen, cut off, and asked to end.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from pipeline.config import BatchSettings, KafkaSettings, RetrySettings, Settings
from pipeline.daemon.attempts import RetryPolicy
from pipeline.daemon.processor import Processor
from pipeline.daemon.writer import Writer
from pipeline.metrics import Metrics, catalogue
from pipeline.metrics.counts import Counts
from pipeline.records import Partition, Record
from tests.simulation.broker import Broker
from tests.simulation.history import History, Violation
from tests.simulation.network import Network
from tests.simulation.scheduler import Actor, OwnersClock, Scheduler, VirtualClock
from tests.simulation.source import SimulatedSource
from tests.simulation.store import DeadLetter, Server, SimulatedDeadLetters, SimulatedSink

STEPS_A_RECORD = 3
UNKNOWN_ATTEMPTS = 3
HALTED_DELAY = 20.0


class Unscraped(CollectorRegistry):
    """A registry of the process's own; what it would show is read from the metrics themselves."""

    def register(self, collector: Collector) -> None:
        """Ask for no names: it costs more than a whole simulated second."""


class Counting(Metrics):
    """The real metrics, with a memory of which steps were counted.

    Attributes:
        steps: how often, by step id.
    """

    def __init__(self) -> None:
        super().__init__(Unscraped(), (1.0, 10.0))
        self.steps: Counter[str] = Counter()

    def publish(self, counts: Counts) -> None:
        """Count."""
        for durations in counts.durations.values():
            self.steps.update(duration.step_id for duration in durations)
        super().publish(counts)

    def lost(self, partition: Partition) -> int:
        """Return how many offsets were counted as lost."""
        return int(self._numbers[catalogue.RECORDS_LOST].values.get((partition.topic, str(partition.number)), 0))


@lru_cache
def settings(max_rows: int, poll_records: int) -> Settings:
    """Return a daemon's settings: small, and quick to try again."""
    return Settings(
        kafka=KafkaSettings(poll_timeout=0.5, poll_records=poll_records),
        batch=BatchSettings(max_rows=max_rows, max_age=1.0),
        retry=RetrySettings(
            first_delay=0.1, max_delay=2.0, unknown_attempts=UNKNOWN_ATTEMPTS, halted_delay=HALTED_DELAY
        ),
        drain_timeout=30.0,
    )


class Servers:
    """What all processes share."""

    def __init__(
        self, broker: Broker, store: Server, dead_letters: list[DeadLetter], history: History, scheduler: Scheduler
    ) -> None:
        self.broker = broker
        self.store = store
        self.dead_letters = dead_letters
        self.history = history
        self.scheduler = scheduler
        self.static = False
        self.draw_fault: Callable[[str], str] = lambda _: ""


class ProcessNetwork(Network):
    """The network of one process: draws its faults, and records the history."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._delivered: dict[Partition, list[int]] = {}
        self.cut = False
        self.away = False
        self.outcomes: Counter[str] = Counter()
        self.lost_offsets: Counter[Partition] = Counter()
        self.on_delivery: Callable[[], None] = lambda: None

    def silent(self) -> bool:
        """Return whether no heartbeat gets through."""
        return self.cut or self.away

    def fault(self, request: str) -> str:
        """Return the fault that this request meets."""
        return self._servers.draw_fault(request)

    def started(self, partition: Partition) -> None:
        """Forget what was delivered: it comes again."""
        self._delivered[partition] = []

    def delivered(self, partition: Partition, records: Sequence[Record]) -> None:
        """Remember what poll returns, until a commit covers it."""
        self._servers.scheduler.note("read", (partition.number, records[0].offset, records[-1].offset))
        self._delivered[partition] += [record.offset for record in records]
        self.on_delivery()

    def accepted(self, offsets: Mapping[Partition, int]) -> None:
        """Note what the coordinator is about to take: until the answer is here, it is in doubt whether it counts."""
        history = self._servers.history
        history.check_commit(offsets)
        for partition, below in offsets.items():
            history.doubtful.update((partition, o) for o in self._delivered.get(partition, ()) if o < below)

    def confirmed(self, offsets: Mapping[Partition, int]) -> None:
        """Note that the process now has to count what it committed."""
        history = self._servers.history
        for partition, below in offsets.items():
            covered = [offset for offset in self._delivered[partition] if offset < below]
            self._delivered[partition] = [offset for offset in self._delivered[partition] if offset >= below]
            for offset in covered:
                history.counted[partition, offset] += 1
                history.doubtful.discard((partition, offset))
                self.outcomes[history.events[partition, offset].outcome] += 1

    def lost(self, partition: Partition, first: int, last: int) -> None:
        """Note a report of loss."""
        self._servers.scheduler.note("reported lost", (partition.number, first, last))
        self.lost_offsets[partition] += last - first + 1
        self._servers.history.reported_lost(partition, first, last)

    def leave_behind(self, action: Callable[[], None]) -> None:
        """Let the server continue with something, view by view, at its own pace."""
        for _ in range(2):
            self._servers.scheduler.after(self._servers.scheduler.chance.expovariate(0.5), action)


class Process:
    """One daemon from its start to its end.

    Attributes:
        slot: the place where it runs; its successor has the same.
        network: between it and the servers.
        metrics: its own.
        state: running, frozen, ending, ended or dead.
    """

    def __init__(self, slot: int, number: int, servers: Servers, own: Settings) -> None:
        self.slot = slot
        self.name = name = f"p{number}"
        self.state = "running"
        self.network = ProcessNetwork(servers)
        self.metrics = Counting()
        self._servers = servers
        self._settings = own
        clock = VirtualClock(servers.scheduler)
        self._sink = SimulatedSink(servers.store, servers.scheduler, self.network)
        self.writer = Writer(
            self._sink,
            SimulatedDeadLetters(servers.dead_letters, servers.scheduler, self.network),
            self.metrics,
            clock,
            RetryPolicy(
                own.retry.first_delay, own.retry.max_delay, own.retry.unknown_attempts, servers.scheduler.chance
            ),
            own.normalize.counted_steps,
        )
        self.worker_id = f"worker-{slot}" if servers.static else None
        self.source = SimulatedSource(
            servers.broker, servers.scheduler, self.network, own.kafka, own.batch.max_rows, self.worker_id
        )
        self.processor = Processor(self.source, self.writer, self.metrics, OwnersClock(servers.scheduler), own)
        self.network.on_delivery = self._check_memory
        self._actors: list[Actor] = [
            servers.scheduler.spawn(f"{name}.owner", self._own),
            servers.scheduler.spawn(f"{name}.writer", self.writer.serve),
        ]

    def _own(self) -> None:
        """Do what `app.Pipeline.run` does."""
        self.processor.run()
        self.writer.stop()
        self.source.close()
        self.network.away, self.state = True, "ended"

    def alive(self) -> bool:
        """Return whether it has not come to its end."""
        return self.state not in ("ended", "dead")

    def stop(self) -> None:
        """Ask for a clean end, as SIGTERM does."""
        self.state = "ending" if self.state == "running" else self.state
        self.processor.stop()

    def kill(self) -> None:
        """End it where it is, as SIGKILL does; an insert in flight may still be carried out."""
        self.network.away, self.state = True, "dead"
        for actor in self._actors:
            self._servers.scheduler.kill(actor)
        if self._sink.job is not None and self._servers.scheduler.chance.random() < 0.5:
            self.network.leave_behind(self._sink.job.advance)

    def freeze(self) -> None:
        """Stop it where it is, as SIGSTOP does; the server continues with an insert in flight, or not yet."""
        self.network.away, self.state = True, "frozen"
        for actor in self._actors:
            actor.frozen = True
        if self._sink.job is not None and self._servers.scheduler.chance.random() < 0.5:
            self.network.leave_behind(self._sink.job.advance)

    def thaw(self) -> None:
        """Let it continue, as SIGCONT does."""
        if self.state == "frozen":
            self._servers.broker.expire_members()
            self.network.away, self.state = False, "running"
            for actor in self._actors:
                actor.frozen = False

    def bug(self) -> BaseException | None:
        """Return an exception that ended one of its threads."""
        if self.state == "dead":
            return None
        return next((actor.failure for actor in self._actors if actor.failure is not None), self.writer.failure)

    def check_counted(self) -> None:
        """Make sure that its metrics hold exactly what its commits covered (I4).

        Raises:
            Violation: they do not.
        """
        totals: dict[str, Any] = {outcome: count for outcome, count in self.metrics.totals().items() if count}
        if totals != dict(self.network.outcomes):
            raise Violation(f"I4 {self.name} counts {totals}, its commits cover {dict(self.network.outcomes)}")
        for partition, count in self.network.lost_offsets.items():
            counted = self.metrics.lost(partition)
            if counted > count or (self.state != "dead" and counted < count):
                raise Violation(f"I4 {self.name} counts {counted} lost offsets of {partition}, not {count}")

    def _check_memory(self) -> None:
        """Make sure that it buffers no more than a batch being filled, with one poll on top (I6)."""
        most = 2 * self._settings.batch.max_rows * STEPS_A_RECORD
        if self.processor.buffered() > most:
            raise Violation(f"I6 {self.name} buffers {self.processor.buffered()} rows")
