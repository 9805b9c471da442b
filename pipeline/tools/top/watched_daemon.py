"""One address that is watched: its last answer, what its process has counted, and its rows on the screen."""

from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.endpoints.status import ProcessStatus, Status, WorkerStatus
from pipeline.text import duration
from pipeline.tools.daemon_client import ANSWER_TIMEOUT_S
from pipeline.tools.top.counters import Samples, Tally, grouped, labels, total
from pipeline.tools.top.figures import AWAY, MemberFigures, PartitionFigures
from pipeline.tools.top.partition_owners import RATE_WINDOW_S, Ownership
from pipeline.tools.top.sampling import Answered, Unanswered

STEP_WINDOW_S: Final = 60.0
"""Seconds over which steps and insert times are averaged: ten seconds hold too few of them."""

RECORDS: Final = "runstep_records_total"
"""Counts every record that has an outcome."""

SEVERAL_DAEMONS: Final = (
    "this address is load-balanced over several daemons: give each address, or a DNS name that lists all"
)

_WORKER_RECORDS: Final = "worker_records_total"
"""Made here from /status: the counters of /metrics are sums over all workers."""
_INSERT: Final = "runstep_insert_duration_seconds"
_BORN: Final = "process_start_time_seconds"
_MEMORY: Final = "process_resident_memory_bytes"


class WatchedDaemon:
    """A daemon and its workers.

    Attributes:
        name: its address.
        cause: why it is away; None while it answers.
        tally: what it has counted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cause: str | None = None
        self.tally = Tally(STEP_WINDOW_S)
        self._away_since = 0.0
        self._status = Status(state="unknown")
        self._samples: Samples = {}
        self._rounds = 0
        self._births: set[float] = set()
        self._last_birth = 0.0
        self._is_single = True

    @property
    def is_paced(self) -> bool:
        """Whether it has answered often enough for rates."""
        return self._rounds > 1

    def take_answer(self, answer: Answered) -> None:
        """Take an answer."""
        self.cause, self._status, self._samples = None, answer.status, answer.samples
        self._note_process(self._born())
        own = {
            labels(worker=worker.worker): float(sum(worker.counts.values()))
            for worker in answer.status.workers
            if worker.counts
        }
        self.tally.take(answer.at, {**answer.samples, _WORKER_RECORDS: own}, self._born())
        self._rounds += 1

    def _note_process(self, born: float) -> None:
        if born != self._last_birth and born in self._births:
            # A restarted process never comes back: a load balancer is behind the address.
            self._is_single = False
        self._births.add(born)
        self._last_birth = born

    def take_silence(self, answer: Unanswered) -> None:
        """Note that it does not answer."""
        if self.cause is None:
            self._away_since = answer.at
        self.cause = answer.cause

    def causes(self, at: float) -> list[str]:
        """Return what is wrong with it; `at` in monotonic seconds."""
        if self.cause is None:
            silent = [f"worker {each.worker}: {cause}" for each in self._status.workers if (cause := _silence(each))]
            return [*self._status.causes, *silent, *([] if self._is_single else [SEVERAL_DAEMONS])]
        since = at - self._away_since
        return [f"away for {duration(since)}: {self.cause}" if since >= 1 else f"away: {self.cause}"]

    def ownerships(self) -> Iterator[tuple[str, Ownership]]:
        """Yield the partitions that the daemon or one of its workers says it has."""
        if self.cause is not None:
            return
        for name, process in self._processes():
            worker = process.worker if isinstance(process, WorkerStatus) else None
            for partition, place in process.partitions.items():
                topic, _, number = partition.rpartition("/")
                wanted = {"topic": topic, "partition": number} | ({} if worker is None else {"worker": worker})
                read_at = total(self._samples, "runstep_consumer_position_timestamp_seconds", **wanted)
                yield partition, Ownership(self.name, name, place, process.halted.get(partition), read_at)

    def rows(self, partitions: Sequence[PartitionFigures]) -> list[MemberFigures]:
        """Return the row of the daemon, and below it those of its workers."""
        if self.cause is not None:
            return [MemberFigures(self.name, None, AWAY, (self.cause,), version=self._version())]
        own = [partition for partition in partitions if partition.daemon == self.name and partition.state != "gone"]
        rows = [self._whole(own)]
        return rows + [self._worker(worker, own) for worker in self._status.workers]

    def _whole(self, partitions: Sequence[PartitionFigures]) -> MemberFigures:
        flow, minute = self.tally.flow(RATE_WINDOW_S), self.tally.flow(STEP_WINDOW_S)
        status, sink = self._status, self._status.sink
        return MemberFigures(
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

    def _worker(self, worker: WorkerStatus, partitions: Sequence[PartitionFigures]) -> MemberFigures:
        name, sink = f"{self.name}#{worker.worker}", worker.sink
        own = [partition for partition in partitions if partition.member == name]
        if worker.pid is None or _silence(worker):
            return MemberFigures(name, worker.worker, AWAY, (_silence(worker) or worker.state,))
        pace = self.tally.flow(RATE_WINDOW_S).by(_WORKER_RECORDS, "worker")
        return MemberFigures(
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
        """Return when the process behind the address began; with workers the supervisor, which outlives them."""
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
    """Return how long a worker has been silent, "" where it answers; its supervisor gives it up much later."""
    silent = worker.heard_seconds_ago
    is_silent = worker.pid is not None and worker.state != "starting" and silent > ANSWER_TIMEOUT_S
    return f"no answer for {silent:.0f} s" if is_silent else ""


def _lag(partitions: Sequence[PartitionFigures]) -> int | None:
    known = [partition.lag for partition in partitions if partition.lag is not None]
    return sum(known) if known else None
