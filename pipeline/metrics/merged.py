"""The metrics of several workers, merged: counters and histograms are summed, gauges get the label `worker`.

Workers send snapshots, as plain data through a pipe. What an ended worker counted stays in the sums: otherwise each
restart of a worker would look to Prometheus like a counter reset.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from pipeline.metrics.exposition import register_process, restored
from pipeline.records import Outcome

SUPERVISOR: Final = "supervisor"
"""The `worker` label of the process that merges."""


def merged(sources: Iterable[tuple[str | None, Sequence[Metric]]]) -> list[Metric]:
    """Return one set of families for several workers; a source named None has ended, and its gauges are left out."""
    families: dict[str, Metric] = {}
    samples: dict[str, dict[tuple[str, ...], Sample]] = {}
    for worker, source in sources:
        for family in source:
            families.setdefault(family.name, family)
            into = samples.setdefault(family.name, {})
            if family.type == "gauge":
                _label(into, family, worker)
            else:
                _sum(into, family)
    result = []
    for name, family in families.items():
        whole = Metric(name, family.documentation, family.type)
        whole.samples = list(samples[name].values())
        result.append(whole)
    return result


def _key(sample: Sample) -> tuple[str, ...]:
    return (sample.name, *(part for item in sorted(sample.labels.items()) for part in item))


def _label(into: dict[tuple[str, ...], Sample], family: Metric, worker: str | None) -> None:
    if worker is None:
        return
    for sample in family.samples:
        labelled = sample._replace(labels={**sample.labels, "worker": worker})
        into[_key(labelled)] = labelled


def _sum(into: dict[tuple[str, ...], Sample], family: Metric) -> None:
    for sample in family.samples:
        key = _key(sample)
        before = into.get(key)
        if before is None:
            into[key] = sample
        else:
            exemplar = max(before.exemplar, sample.exemplar, key=_age)
            into[key] = before._replace(value=before.value + sample.value, exemplar=exemplar)


def _age(exemplar: Exemplar | None) -> float:
    return float(exemplar.timestamp or 0) if exemplar else -1.0


class MergedMetrics(Collector):
    """What the supervisor of several workers exposes, with its own process. May be called by any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register with the registry that a scrape collects."""
        self._lock = threading.Lock()
        self._current: dict[str, tuple[str, list[Metric]]] = {}
        self._gone: dict[str, str] = {}
        self._ended: list[Metric] = []
        self._own = CollectorRegistry()
        register_process(self._own)
        registry.register(self)

    def update(self, worker: str, snapshot: Mapping[str, Any]) -> None:
        """Replace the last snapshot of a worker by a later `Metrics.snapshot()`.

        A snapshot of another process under the same name ends the former process. A snapshot of a process that has
        `ended` is ignored: its counts are in the sums already.
        """
        instance = str(snapshot["instance"])
        families = restored(snapshot["families"])
        with self._lock:
            if self._gone.get(worker) == instance:
                return
            if worker in self._current and self._current[worker][0] != instance:
                self._end(worker)
            self._current[worker] = (instance, families)

    def ended(self, worker: str) -> None:
        """Keep what a worker counted and drop its gauges; `update` must have its last snapshot before."""
        with self._lock:
            self._end(worker)

    def totals(self) -> dict[str, int]:
        """Return how many records had each outcome, over all workers since the supervisor started."""
        totals = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        with self._lock:
            sources = [self._ended, *(families for _, families in self._current.values())]
        for sample in (sample for source in sources for family in source for sample in family.samples):
            if sample.name == "runstep_records_total":
                outcome = sample.labels["outcome"]
                totals[outcome] = totals.get(outcome, 0) + int(sample.value)
        return totals

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows."""
        with self._lock:
            ended = self._ended
            workers = [(worker, families) for worker, (_, families) in sorted(self._current.items())]
        return merged([(None, ended), *workers, (SUPERVISOR, list(self._own.collect()))])

    def _end(self, worker: str) -> None:
        known = self._current.pop(worker, None)
        if known is not None:
            instance, families = known
            self._ended = merged([(None, self._ended), (None, families)])
            self._gone[worker] = instance
