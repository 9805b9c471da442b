"""The metrics of one process: what happened, in the words of the stages, becomes numbers.

Nothing here is called for a single record. The owner publishes what a batch's commit covered; the writer tells of its
inserts; both, and the scrape, meet at one lock that is held for microseconds (for a scrape about a millisecond).
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
    """Every metric of the catalogue, each known label set at 0 from the start, beside those of process and Python.

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
            registry: who is scraped.
            buckets: upper bounds of the step duration, in seconds, ascending.
            revision: of the source this was built from.
            now: seconds since the epoch; stamps the last insert and the exemplars.

        Raises:
            ConfigError: the buckets are none.
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
        """Add what a commit covered, all of it between two scrapes. Call it once per committed part of a batch."""
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
        """Count that an insert is tried again, and why."""
        self._add(catalogue.INSERT_RETRIES, (error_class,), 1)

    def sink_available(self, up: bool) -> None:
        """Show whether ClickHouse takes our inserts."""
        self._set(catalogue.SINK_AVAILABLE, (), int(up))

    def source_available(self, up: bool) -> None:
        """Show whether Kafka can be read."""
        self._set(catalogue.SOURCE_AVAILABLE, (), int(up))

    def polled(self, now: float) -> None:
        """Show when Kafka last let itself be polled, in seconds since the epoch."""
        self._set(catalogue.LAST_POLL, (), now)

    def assigned(self, count: int) -> None:
        """Show how many partitions are ours."""
        self._set(catalogue.ASSIGNED, (), count)

    def halted(self, count: int) -> None:
        """Show how many of our partitions stand still."""
        self._set(catalogue.HALTED, (), count)

    def buffered(self, rows: int, oldest: float | None) -> None:
        """Show how many rows wait to be inserted, and since when (seconds since the epoch; None: none waits)."""
        with self._lock:
            self._numbers[catalogue.BUFFER_ROWS].set((), rows)
            self._numbers[catalogue.BUFFER_OLDEST].set((), oldest or 0)

    def lag(self, partition: Partition, records: int | None) -> None:
        """Show how many records of a partition are still to be read; None, nobody knows, shows no number at all."""
        if records is None:
            with self._lock:
                self._numbers[catalogue.LAG].drop(_labels(partition))
        else:
            self._set(catalogue.LAG, _labels(partition), records)

    def position(self, partition: Partition, timestamp: float) -> None:
        """Show Kafka's timestamp of the last record read, in seconds since the epoch; negative: it had none."""
        if timestamp >= 0:
            self._set(catalogue.POSITION, _labels(partition), timestamp)

    def forget(self, partition: Partition) -> None:
        """End the gauges of a partition that is no longer ours; what was lost of it stays counted."""
        with self._lock:
            self._numbers[catalogue.LAG].drop(_labels(partition))
            self._numbers[catalogue.POSITION].drop(_labels(partition))

    def committed(self, outcome: str) -> None:
        """Count a commit: `ok`, `deferred` (to be tried again), `fenced` (no longer ours) or `failed`."""
        self._add(catalogue.COMMITS, (outcome,), 1)

    def rebalanced(self, kind: str) -> None:
        """Count that partitions were `assigned`, `revoked` or `lost`."""
        self._add(catalogue.REBALANCES, (kind,), 1)

    def records_lost(self, partition: Partition, count: int) -> None:
        """Count offsets that Kafka no longer had."""
        self._add(catalogue.RECORDS_LOST, _labels(partition), count)

    def totals(self) -> dict[str, int]:
        """Return how many records had each outcome since the process started."""
        totals = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        with self._lock:
            for (outcome, _), count in self._numbers[catalogue.RECORDS].values.items():
                totals[outcome] = totals.get(outcome, 0) + int(count)
        return totals

    def snapshot(self) -> dict[str, Any]:
        """Return all that a scrape of this process would show, as data for JSON; `MergedMetrics` reads it."""
        return {"instance": self._instance, "families": plain(self._registry.collect())}

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows; a batch is in it as a whole or not at all."""
        with self._lock:
            return [(self._numbers.get(spec) or self._histograms[spec]).family() for spec in catalogue.SPECS]

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that the registry refuses a second set of them."""
        return self.collect()

    def _add(self, spec: Spec, labels: LabelValues, amount: float) -> None:
        with self._lock:
            self._numbers[spec].add(labels, amount)

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
