"""What all workers together answer: one daemon, to Prometheus, to probes and to people.

Counters and histograms are sums, kept when a worker is restarted; gauges say whose they are. A scrape asks every worker
and waits for a bounded time: of a worker that does not answer it shows what was heard last.
"""

import threading
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from pipeline.metrics import MergedMetrics
from pipeline.workers.child import Child

_WAIT: Final = 1.0
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
            stalled_after: seconds without an answer after which a worker counts as stuck.
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
        # First, so that at no moment a worker is missed by nobody.
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
        """Note that a report came, or that one will not come any more."""
        with self._heard:
            self._heard.notify_all()

    def refresh(self) -> None:
        """Get a report of now from every worker that can give one; takes a second at most."""
        asked = [(child, child.ask()) for child in self.children if child.is_responsive()]
        with self._heard:
            self._heard.wait_for(
                lambda: all(child.has_answered(number) or not child.is_responsive() for child, number in asked), _WAIT
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
        stuck = [f"worker {child.name}: {cause}" for child in self.children if (cause := self._stuck(child))]
        return "; ".join(stuck) or None

    def ready(self) -> list[str]:
        """Return what is in the way of records becoming rows, worker by worker; empty when nothing is."""
        causes = [] if self.state == "running" else [f"the daemon is {self.state}"]
        for child in self.children:
            own = ["is starting"] if child.report is None else child.report["status"]["causes"]
            stuck = self._stuck(child)
            causes += [f"worker {child.name}: {cause}" for cause in dict.fromkeys([*own, *([stuck] if stuck else [])])]
        return causes + [f"worker {name}: {cause}" for name, cause in sorted(self.absent.items(), key=_number)]

    def status(self) -> dict[str, Any]:
        """Return what /status shows: the whole in the form that one process has, then every worker by itself."""
        self.refresh()
        causes = self.ready()
        workers = {child.name: child.report["status"] for child in self.children if child.report is not None}
        return {
            "state": "waiting" if self.state == "running" and causes else self.state,
            "causes": causes,
            "partitions": {name: place for each in workers.values() for name, place in each["partitions"].items()},
            "buffer": {
                "rows": sum(each["buffer"]["rows"] for each in workers.values()),
                "writing": any(each["buffer"]["writing"] for each in workers.values()),
            },
            "sink": _sink(workers),
            "halted": {name: cause for each in workers.values() for name, cause in each["halted"].items()},
            "last_error": {name: error for each in workers.values() for name, error in each["last_error"].items()},
            "counts": self.totals(),
            "workers": [self._status(child) for child in self.children]
            + [
                {"worker": name, "pid": None, "state": cause}
                for name, cause in sorted(self.absent.items(), key=_number)
            ],
        }

    def _status(self, child: Child) -> dict[str, Any]:
        own = {"state": "starting"} if child.report is None else child.report["status"]
        return {"worker": child.name, "pid": child.pid, "heard_seconds_ago": round(child.silent_for(), 1), **own}

    def _stuck(self, child: Child) -> str | None:
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


def _sink(workers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the sink as the worker sees it that has the most trouble with it."""
    if not workers:
        return {"available": False, "cause": None}
    name, worst = max(workers.items(), key=lambda entry: _severity(entry[1]["sink"]))
    cause = worst["sink"]["cause"]
    return {**worst["sink"], "cause": None if cause is None else f"worker {name}: {cause}"}


def _severity(sink: dict[str, Any]) -> tuple[bool, int]:
    return not sink["available"], sink["failures_in_a_row"]
