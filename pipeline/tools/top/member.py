"""One address that is watched: what was heard of it last, what its process has counted, and its rows on the screen."""

from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.endpoints.status import ProcessStatus, Status, WorkerStatus
from pipeline.tools.daemon_client import ANSWER_TIMEOUT_S
from pipeline.tools.top.counters import Samples, Tally, grouped, labels, total
from pipeline.tools.top.figures import AWAY, Member, Partition
from pipeline.tools.top.partition_owners import PACE, Claim
from pipeline.tools.top.sampling import Heard, Silent
from pipeline.tools.top.wording import span

MINUTE: Final = 60.0
"""Seconds over which steps and the times of inserts are taken: there are too few of them in ten."""

RECORDS: Final = "runstep_records_total"
"""Every record that was accounted for."""

IN_TURN: Final = "several daemons answer here in turn; name each, or a name that stands for all of them"

_WORKER_RECORDS: Final = "worker_records_total"
"""Of our own making: the daemon's counters are sums, /status has each worker's."""
_INSERT: Final = "runstep_insert_duration_seconds"
_BORN: Final = "process_start_time_seconds"
_MEMORY: Final = "process_resident_memory_bytes"


class Watched:
    """A daemon, and its workers where it has some.

    Attributes:
        name: its address.
        cause: why it is away; None while it answers.
        tally: what it has counted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cause: str | None = None
        self.tally = Tally(MINUTE)
        self._away_since = 0.0
        self._status = Status(state="unknown")
        self._samples: Samples = {}
        self._rounds = 0
        self._births: set[float] = set()
        self._last_birth = 0.0
        self._is_one = True

    @property
    def is_paced(self) -> bool:
        """Whether it was heard often enough for rates."""
        return self._rounds > 1

    def hear(self, heard: Heard) -> None:
        """Take an answer."""
        self.cause, self._status, self._samples = None, heard.status, heard.samples
        self._note_process(self._born())
        own = {
            labels(worker=worker.worker): float(sum(worker.counts.values()))
            for worker in heard.status.workers
            if worker.counts
        }
        self.tally.take(heard.at, {**heard.samples, _WORKER_RECORDS: own}, self._born())
        self._rounds += 1

    def _note_process(self, born: float) -> None:
        if born != self._last_birth and born in self._births:
            # After a restart the old one never comes again: behind the address is something that distributes.
            self._is_one = False
        self._births.add(born)
        self._last_birth = born

    def miss(self, silent: Silent) -> None:
        """Take note that it does not answer."""
        if self.cause is None:
            self._away_since = silent.at
        self.cause = silent.cause

    def causes(self, at: float) -> list[str]:
        """Return what is wrong with it; `at` in monotonic seconds."""
        if self.cause is None:
            silent = [f"worker {each.worker}: {cause}" for each in self._status.workers if (cause := _silence(each))]
            return [*self._status.causes, *silent, *([] if self._is_one else [IN_TURN])]
        since = at - self._away_since
        return [f"away for {span(since)}: {self.cause}" if since >= 1 else f"away: {self.cause}"]

    def claims(self) -> Iterator[tuple[str, Claim]]:
        """Yield the partitions that it, or one of its workers, says are its."""
        if self.cause is not None:
            return
        for name, process in self._processes():
            worker = process.worker if isinstance(process, WorkerStatus) else None
            for partition, place in process.partitions.items():
                topic, _, number = partition.rpartition("/")
                wanted = {"topic": topic, "partition": number} | ({} if worker is None else {"worker": worker})
                read_at = total(self._samples, "runstep_consumer_position_timestamp_seconds", **wanted)
                yield partition, Claim(self.name, name, place, process.halted.get(partition), read_at)

    def rows(self, partitions: Sequence[Partition]) -> list[Member]:
        """Return it as it is shown, and below it its workers."""
        if self.cause is not None:
            return [Member(self.name, None, AWAY, (self.cause,), version=self._version())]
        own = [partition for partition in partitions if partition.daemon == self.name and partition.state != "gone"]
        rows = [self._whole(own)]
        return rows + [self._worker(worker, own) for worker in self._status.workers]

    def _whole(self, partitions: Sequence[Partition]) -> Member:
        flow, minute = self.tally.flow(PACE), self.tally.flow(MINUTE)
        status, sink = self._status, self._status.sink
        return Member(
            name=self.name,
            worker=None,
            state=status.state,
            causes=tuple(status.causes),
            version=self._version(),
            records=flow.rate(RECORDS) if self.is_paced else None,
            insert_p50=minute.quantile(0.5, _INSERT, outcome="ok"),
            insert_p95=minute.quantile(0.95, _INSERT, outcome="ok"),
            rows_per_insert=minute.mean("runstep_insert_rows"),
            buffer_rows=status.buffer.rows,
            breaker=sink.breaker if sink else "",
            sink_available=sink.available if sink else None,
            source_available=self._source(),
            cpu=flow.rate("process_cpu_seconds_total") if self.is_paced and _BORN in self._samples else None,
            memory=total(self._samples, _MEMORY) or None,
            partitions=len(status.partitions),
            lag=_lag(partitions),
            started_at=self._born() or None,
        )

    def _worker(self, worker: WorkerStatus, partitions: Sequence[Partition]) -> Member:
        name, sink = f"{self.name}#{worker.worker}", worker.sink
        own = [partition for partition in partitions if partition.member == name]
        if worker.pid is None or _silence(worker):
            return Member(name, worker.worker, AWAY, (_silence(worker) or worker.state,))
        pace = self.tally.flow(PACE).by(_WORKER_RECORDS, "worker")
        return Member(
            name=name,
            worker=worker.worker,
            state=worker.state,
            causes=tuple(worker.causes),
            records=pace.get(worker.worker),
            buffer_rows=worker.buffer.rows,
            breaker=sink.breaker if sink else "",
            sink_available=sink.available if sink else None,
            source_available=self._source(worker.worker),
            memory=total(self._samples, _MEMORY, worker=worker.worker) or None,
            partitions=len(worker.partitions),
            lag=_lag(own),
            started_at=total(self._samples, _BORN, worker=worker.worker) or None,
        )

    def _processes(self) -> list[tuple[str, ProcessStatus]]:
        workers = [(f"{self.name}#{worker.worker}", worker) for worker in self._status.workers]
        return [*workers] or [(self.name, self._status)]

    def _born(self) -> float:
        """Return when the process behind the address began; the supervisor's, where there are workers: it counts on."""
        return max(
            (
                value
                for key, value in self._samples.get(_BORN, {}).items()
                if dict(key).get("worker", "supervisor") == "supervisor"
            ),
            default=0.0,
        )

    def _source(self, worker: str | None = None) -> bool | None:
        values = grouped(self._samples, "runstep_source_available", "worker")
        shown = [value for name, value in values.items() if worker in {None, name}]
        return all(shown) if shown else None

    def _version(self) -> str:
        return ", ".join(sorted(grouped(self._samples, "runstep_build_info", "version")))


def _silence(worker: WorkerStatus) -> str:
    """Return for how long a process is silent, "" where it is not, or not for long: its supervisor waits far longer."""
    silent = worker.heard_seconds_ago
    is_silent = worker.pid is not None and worker.state != "starting" and silent > ANSWER_TIMEOUT_S
    return f"no answer for {silent:.0f} s" if is_silent else ""


def _lag(partitions: Sequence[Partition]) -> int | None:
    known = [partition.lag for partition in partitions if partition.lag is not None]
    return sum(known) if known else None
