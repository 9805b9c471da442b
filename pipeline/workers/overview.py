"""What all workers together answer to Prometheus, to probes and to people, as if they were one process.

Counters and histograms are sums, kept when a worker is restarted; gauges carry the worker as a label. A scrape asks
every worker and waits for a bounded time: for a worker that does not answer it shows the last report.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from pipeline.endpoints.status import BufferStatus, ProcessStatus, SinkStatus, Status, WorkerStatus
from pipeline.metrics import MergedMetrics
from pipeline.workers.child import Child

_REPORT_TIMEOUT_S: Final = 1.0
"""Seconds that a scrape waits for the workers' reports; scrapes and probes of others time out after 10 and 1."""


class Overview(Collector):
    """The workers seen as one: metrics and `endpoints.Health`. May be asked by any thread.

    Attributes:
        state: of the whole; the supervisor's to set.
        absent: worker to why it has no process now.
    """

    # The supervisor's thread changes what others read: by replacing dictionaries, never inside one.

    def __init__(self, workers: Iterable[str], stalled_after: float) -> None:
        """Begin with workers that have no process yet.

        Args:
            workers: their names.
            stalled_after: seconds without an answer after which a worker counts as stalled.
        """
        self.state = "starting"
        self.absent = dict.fromkeys(workers, "is not started yet")
        self._stalled_after = stalled_after
        self._children: dict[str, Child] = {}
        self._heard = threading.Condition()
        self._counting = threading.Lock()
        self._metrics = MergedMetrics(CollectorRegistry())

    @property
    def children(self) -> list[Child]:
        """The processes that run now, in the order of their names."""
        return sorted(self._children.values(), key=lambda child: int(child.name))

    def add(self, child: Child) -> None:
        """Take a process that was started into account."""
        self._children = self._children | {child.name: child}
        self.absent = {name: cause for name, cause in self.absent.items() if name != child.name}

    def remove(self, child: Child, cause: str) -> None:
        """Keep what an ended process has counted, and forget the rest of it; `cause` says how it ended."""
        # First, so that at every moment the worker is either a child or absent.
        self.miss(child.name, cause)
        with self._counting:
            self._count(child)
            self._metrics.ended(child.name)
            self._children = {name: other for name, other in self._children.items() if other is not child}
        self.heard()

    def miss(self, worker: str, cause: str) -> None:
        """Show that a worker has no process now, and why."""
        self.absent = self.absent | {worker: cause}

    def heard(self) -> None:
        """Note that a report came, or that none can come any more."""
        with self._heard:
            self._heard.notify_all()

    def refresh(self) -> None:
        """Get a report from every worker that can give one now; takes a second at most."""
        asked = [(child, child.ask()) for child in self.children if child.is_responsive()]
        with self._heard:
            self._heard.wait_for(
                lambda: all(child.has_answered(number) or not child.is_responsive() for child, number in asked),
                _REPORT_TIMEOUT_S,
            )

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows."""
        self.refresh()
        with self._counting:
            self._count(*self.children)
            return self._metrics.collect()

    def totals(self) -> dict[str, int]:
        """Return how many records had each outcome, over all workers since the supervisor started."""
        with self._counting:
            self._count(*self.children)
            return self._metrics.totals()

    def alive(self) -> str | None:
        """Return which workers make no progress, and why; None while all do."""
        stalled = [f"worker {child.name}: {cause}" for child in self.children if (cause := self._stalled(child))]
        return "; ".join(stalled) or None

    def ready(self) -> list[str]:
        """Return why records are not read and stored right now, worker by worker; empty while they are."""
        causes = [] if self.state == "running" else [f"the daemon is {self.state}"]
        for child in self.children:
            own = ["is starting"] if child.report is None else child.report["status"].causes
            stalled = self._stalled(child)
            causes += [
                f"worker {child.name}: {cause}" for cause in dict.fromkeys([*own, *([stalled] if stalled else [])])
            ]
        return causes + [f"worker {name}: {cause}" for name, cause in sorted(self.absent.items(), key=_number)]

    def status(self) -> Status:
        """Return what /status shows: the whole in the form that one process has, then every worker by itself."""
        self.refresh()
        causes = self.ready()
        workers = {child.name: child.report["status"] for child in self.children if child.report is not None}
        each = workers.values()
        return Status(
            state="waiting" if self.state == "running" and causes else self.state,
            causes=causes,
            remarks=[f"worker {name}: {remark}" for name, own in workers.items() for remark in own.remarks],
            partitions={name: place for own in each for name, place in own.partitions.items()},
            buffer=BufferStatus(
                rows=sum(own.buffer.rows for own in each), writing=any(own.buffer.writing for own in each)
            ),
            sink=_sink(workers),
            halted={name: cause for own in each for name, cause in own.halted.items()},
            last_error={name: error for own in each for name, error in own.last_error.items()},
            counts=self.totals(),
            workers=[_worker_status(child) for child in self.children]
            + [
                WorkerStatus(worker=name, pid=None, state=cause)
                for name, cause in sorted(self.absent.items(), key=_number)
            ],
        )

    def _stalled(self, child: Child) -> str | None:
        silent = child.silent_for()
        if silent > self._stalled_after:
            return f"has not answered for {silent:.0f} s"
        return child.report["alive"] if child.report is not None else None

    def _count(self, *children: Child) -> None:
        # Under the lock from the report's reading on: an older one must not come after a later one.
        for child in children:
            if child.report is not None:
                self._metrics.update(child.name, child.report["metrics"])


def _number(entry: tuple[str, str]) -> int:
    return int(entry[0])


def _worker_status(child: Child) -> WorkerStatus:
    own = ProcessStatus(state="starting") if child.report is None else child.report["status"]
    process = {"worker": child.name, "pid": child.pid, "heard_seconds_ago": round(child.silent_for(), 1)}
    return WorkerStatus(**process, **{name: getattr(own, name) for name in own.model_fields_set})


def _sink(workers: Mapping[str, ProcessStatus]) -> SinkStatus:
    """Return the sink as the worker with the most failures sees it."""
    sinks = {name: own.sink for name, own in workers.items() if own.sink is not None}
    if not sinks:
        return SinkStatus(available=False, cause=None)
    name, worst = max(sinks.items(), key=lambda entry: _severity(entry[1]))
    return worst.model_copy(update={"cause": None if worst.cause is None else f"worker {name}: {worst.cause}"})


def _severity(sink: SinkStatus) -> tuple[bool, int]:
    return not sink.available, sink.failures_in_a_row or 0
