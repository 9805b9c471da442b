"""The metrics of one process: the stages report what happened, `Metrics` turns it into numbers.

No method is called for a single record. The processor publishes what a commit covered, the writer reports its inserts.
They share one lock with the scrape; it is held for microseconds, for a scrape about a millisecond.
"""

import itertools
import math
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pipeline import __version__
from pipeline.errors import ConfigError, ErrorClass
from pipeline.metrics import catalogue
from pipeline.metrics.catalogue import LabelValues, Spec
from pipeline.metrics.counts import Counts
from pipeline.metrics.exposition import plain, register_process
from pipeline.metrics.series import Histogram, Numbers, observed, observed_durations
from pipeline.records import Outcome, Partition


class Metrics(Collector):
    """Every metric of the catalogue, each known label set at 0 from the start, and those of the process and Python.

    May be called by any thread. Label values that are not in the vocabulary count as `other`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        buckets: Sequence[float],
        revision: str = "",
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Register the metrics.

        Args:
            registry: what a scrape collects.
            buckets: upper bounds of the step duration, in seconds, ascending.
            revision: the commit that the build was made from.
            now: seconds since the epoch; stamps the last insert and the exemplars.

        Raises:
            ConfigError: the buckets are not ascending finite seconds above 0.
        """
        _check(buckets)
        self._registry = registry
        self._now = now
        self._instance = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._numbers = {spec: Numbers(spec) for spec in catalogue.SPECS if spec.kind != "histogram"}
        self._histograms = {
            spec: Histogram(spec, spec.bounds or buckets) for spec in catalogue.SPECS if spec.kind == "histogram"
        }
        build = (__version__, revision, platform.python_version())
        self._set(catalogue.BUILD_INFO, build, 1)
        registry.register(self)
        register_process(registry)

    def publish(self, counts: Counts) -> None:
        """Add what a commit covered; no scrape sees a part of it. Call it once for each committed part of a batch."""
        durations = self._histograms[catalogue.STEP_DURATION]
        delays = self._histograms[catalogue.INGEST_DELAY]
        now = self._now()
        seen = {key: observed_durations(steps, durations.bounds, now) for key, steps in counts.durations.items()}
        delayed = observed(counts.delays, delays.bounds)
        with self._lock:
            for spec, amounts in _amounts(counts):
                numbers = self._numbers[spec]
                for labels, amount in amounts:
                    numbers.add(labels, amount)
            for labels, part in seen.items():
                durations.add(labels, part)
            delays.add((), delayed)

    def insert_finished(self, outcome: str, seconds: float, rows: int) -> None:
        """Count an attempt to insert that ended `ok` or `failed` after `seconds`; the time of an `ok` is `now()`."""
        duration = observed((seconds,), self._histograms[catalogue.INSERT_DURATION].bounds)
        size = observed((rows,), self._histograms[catalogue.INSERT_ROWS].bounds)
        with self._lock:
            self._numbers[catalogue.INSERTS].add((outcome,), 1)
            self._histograms[catalogue.INSERT_DURATION].add((outcome,), duration)
            if outcome == "ok":
                self._histograms[catalogue.INSERT_ROWS].add((), size)
                self._numbers[catalogue.LAST_INSERT].set((), self._now())

    def insert_retried(self, error_class: ErrorClass) -> None:
        """Count a retry of an insert, and why."""
        self._add(catalogue.INSERT_RETRIES, (error_class,), 1)

    def insert_split(self, error_class: ErrorClass) -> None:
        """Count an insert that was too large, and how that was known: `shape` or `ambiguous`."""
        self._add(catalogue.INSERT_SPLITS, (error_class,), 1)

    def sink_available(self, up: bool) -> None:
        """Set whether ClickHouse accepts inserts."""
        self._set(catalogue.SINK_AVAILABLE, (), int(up))

    def source_available(self, up: bool) -> None:
        """Set whether the daemon can read Kafka."""
        self._set(catalogue.SOURCE_AVAILABLE, (), int(up))

    def throttled(self, seconds: float) -> None:
        """Set for how long brokers have made the daemon wait since it started."""
        self._set(catalogue.THROTTLED, (), seconds)

    def polled(self, now: float) -> None:
        """Set the time of the last successful poll, in seconds since the epoch."""
        self._set(catalogue.LAST_POLL, (), now)

    def assigned(self, count: int) -> None:
        """Set how many partitions are assigned."""
        self._set(catalogue.ASSIGNED, (), count)

    def halted(self, count: int) -> None:
        """Set how many assigned partitions are halted."""
        self._set(catalogue.HALTED, (), count)

    def buffered(self, rows: int, oldest: float | None) -> None:
        """Set how many rows wait to be inserted, and since when (seconds since the epoch; None: none waits)."""
        with self._lock:
            self._numbers[catalogue.BUFFER_ROWS].set((), rows)
            self._numbers[catalogue.BUFFER_OLDEST].set((), oldest or 0)

    def lag(self, partition: Partition, records: int | None) -> None:
        """Set how many records of a partition are still to be read; None: unknown, so the series is dropped."""
        self._set_known(catalogue.LAG, partition, records)

    def unstable(self, partition: Partition, records: int | None) -> None:
        """Set how many offsets of a partition wait for a producer's transaction; None: unknown, as for the lag."""
        self._set_known(catalogue.UNSTABLE, partition, records)

    def position(self, partition: Partition, timestamp: float) -> None:
        """Set Kafka's timestamp of the last record read, in seconds since the epoch; negative: it had none."""
        if timestamp >= 0:
            self._set(catalogue.POSITION, _labels(partition), timestamp)

    def forget(self, partition: Partition) -> None:
        """Drop the gauges of a partition that is no longer assigned; its lost records stay counted."""
        with self._lock:
            for spec in (catalogue.LAG, catalogue.UNSTABLE, catalogue.POSITION):
                self._numbers[spec].drop(_labels(partition))

    def committed(self, outcome: str) -> None:
        """Count a commit: `ok`, `deferred` (to be retried) or `fenced` (the partition has a new owner)."""
        self._add(catalogue.COMMITS, (outcome,), 1)

    def rebalanced(self, kind: str) -> None:
        """Count that partitions were `assigned`, `revoked` or `lost`."""
        self._add(catalogue.REBALANCES, (kind,), 1)

    def records_lost(self, partition: Partition, count: int) -> None:
        """Count offsets that Kafka had deleted before they were read."""
        self._add(catalogue.RECORDS_LOST, _labels(partition), count)

    def totals(self) -> dict[str, int]:
        """Return how many records had each outcome since the process started."""
        totals = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        with self._lock:
            for (outcome, _), count in self._numbers[catalogue.RECORDS].values.items():
                totals[outcome] = totals.get(outcome, 0) + int(count)
        return totals

    def snapshot(self) -> dict[str, Any]:
        """Return what a scrape of this process returns, as data for JSON; `MergedMetrics` reads it."""
        return {"instance": self._instance, "families": plain(self._registry.collect())}

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows; a batch is in it as a whole or not at all."""
        with self._lock:
            return [(self._numbers.get(spec) or self._histograms[spec]).family() for spec in catalogue.SPECS]

    def describe(self) -> Iterable[Metric]:
        """Return the families, so that the registry rejects a second set of the same names."""
        return self.collect()

    def _add(self, spec: Spec, labels: LabelValues, amount: float) -> None:
        with self._lock:
            self._numbers[spec].add(labels, amount)

    def _set_known(self, spec: Spec, partition: Partition, value: float | None) -> None:
        with self._lock:
            if value is None:
                self._numbers[spec].drop(_labels(partition))
            else:
                self._numbers[spec].set(_labels(partition), value)

    def _set(self, spec: Spec, labels: LabelValues, value: float) -> None:
        with self._lock:
            self._numbers[spec].set(labels, value)


def _labels(partition: Partition) -> LabelValues:
    return (partition.topic, str(partition.number))


def _amounts(counts: Counts) -> Iterable[tuple[Spec, Iterable[tuple[LabelValues, int]]]]:
    yield catalogue.RECORDS, counts.records.items()
    yield catalogue.STEPS, counts.steps.items()
    yield catalogue.FAILURES, counts.failures.items()
    yield catalogue.BACKFILLED, counts.backfilled.items()
    yield catalogue.TOKENS, _one_label(counts.tokens)
    yield catalogue.TOOL_CALLS, _one_label(counts.tool_calls)
    yield catalogue.ANOMALY, _one_label(counts.anomalies)


def _one_label(amounts: Mapping[str, int]) -> Iterable[tuple[LabelValues, int]]:
    return (((value,), amount) for value, amount in amounts.items())


def _check(buckets: Sequence[float]) -> None:
    ascending = all(lower < upper for lower, upper in itertools.pairwise(buckets))
    if not buckets or not ascending or buckets[0] <= 0 or not math.isfinite(buckets[-1]):
        raise ConfigError(
            "http.buckets must be finite seconds above 0, each larger than the one before it; "
            f"it is {', '.join(map(str, buckets)) or 'empty'}"
        )
