"""The numbers behind the metrics: plain ints and floats, turned into families at a scrape only.

The classes take no lock: `Metrics` holds one around them. prometheus_client's own metric objects cost a lock and a
method call for each value, and can neither be added to in bulk nor be read as a whole.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from pipeline.metrics.catalogue import LabelValues, Spec
from pipeline.metrics.counts import Duration
from pipeline.redaction import redact
from schemas.vocabulary import label

_MAX_EXEMPLAR_CHARS: Final = 128
"""Characters of names and values together, as OpenMetrics limits them; Prometheus rejects a scrape with more."""


class _Series:
    """Keeps label values inside their vocabularies, so that no producer can multiply the series."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._known = [None if known is None else frozenset(known) for known in spec.labels.values()]

    def _closed(self, labels: LabelValues) -> LabelValues:
        return tuple(
            value if known is None else label(value, known) for value, known in zip(labels, self._known, strict=True)
        )


class Numbers(_Series):
    """A counter or a gauge: a number for each combination of label values."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.values: dict[LabelValues, float] = dict.fromkeys(spec.start(), 0)

    def add(self, labels: LabelValues, amount: float) -> None:
        """Add to a counter."""
        if labels not in self.values:
            labels = self._closed(labels)
        self.values[labels] = self.values.get(labels, 0) + amount

    def set(self, labels: LabelValues, value: float) -> None:
        """Set a gauge."""
        if labels not in self.values:
            labels = self._closed(labels)
        self.values[labels] = value

    def drop(self, labels: LabelValues) -> None:
        """Drop a series, if it exists."""
        self.values.pop(labels, None)

    def family(self) -> Metric:
        """Return a copy of the numbers as a family."""
        make = CounterMetricFamily if self._spec.kind == "counter" else GaugeMetricFamily
        family = make(self._spec.name, self._spec.help, labels=tuple(self._spec.labels))
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


@dataclass(slots=True)
class Observed:
    """Some values, counted into the buckets of a histogram; the last bucket has no upper bound."""

    cumulative: list[int]
    total: float
    exemplars: list[Exemplar | None]


def observed(values: Sequence[float], bounds: Sequence[float]) -> Observed:
    """Return `values` counted into buckets. Negative ones, from a clock that is ahead, count as 0."""
    ordered = sorted(values)
    cumulative: list[int] = []
    position = 0
    for bound in bounds:
        position = bisect_right(ordered, bound, lo=position)
        cumulative.append(position)
    cumulative.append(len(ordered))
    # Prometheus takes a sum that shrinks for a restart.
    total = sum(ordered[bisect_left(ordered, 0.0) :])
    return Observed(cumulative, total, [None] * len(cumulative))


def observed_durations(durations: Sequence[Duration], bounds: Sequence[float], now: float) -> Observed:
    """Return `durations` counted into buckets, with the last step of each bucket as its exemplar."""
    counts = [0] * (len(bounds) + 1)
    last: list[Duration | None] = [None] * len(counts)
    total = 0.0
    for duration in durations:
        seconds = duration.seconds
        bucket = bisect_left(bounds, seconds)
        counts[bucket] += 1
        last[bucket] = duration
        total += seconds
    for bucket in range(len(bounds)):
        counts[bucket + 1] += counts[bucket]
    return Observed(counts, total, [None if step is None else _exemplar(step, now) for step in last])


def _exemplar(step: Duration, now: float) -> Exemplar | None:
    """Return the ids of the row as an exemplar: only the step's, or none, where they are too long."""
    for labels in ({"run_id": step.run_id, "step_id": step.step_id}, {"step_id": step.step_id}):
        length = sum(len(name) + len(value) for name, value in labels.items())
        if length <= _MAX_EXEMPLAR_CHARS and all(map(_is_plain, labels.values())):
            return Exemplar(labels, step.seconds, round(now, 3))
    return None


def _is_plain(text: str) -> bool:
    # Ids come from the wire: a lone surrogate in one would make every scrape fail, and there are parsers of OpenMetrics
    # (that of prometheus_client is one) that stumble over escapes. The id of a step is stored as it came; one that is
    # a credential is not shown to everyone who may read metrics.
    return text.isprintable() and '"' not in text and "\\" not in text and redact(text) == text


class Histogram(_Series):
    """Counts of values up to each bound, for each combination of label values."""

    def __init__(self, spec: Spec, bounds: Sequence[float]) -> None:
        super().__init__(spec)
        self.bounds = tuple(float(bound) for bound in bounds)
        self._cells = {labels: self._empty() for labels in spec.start()}

    def _empty(self) -> Observed:
        return observed((), self.bounds)

    def add(self, labels: LabelValues, seen: Observed) -> None:
        """Add values that were `observed` with the same bounds; their exemplars replace the present ones."""
        if labels not in self._cells:
            labels = self._closed(labels)
        cell = self._cells.setdefault(labels, self._empty())
        cell.cumulative = [old + new for old, new in zip(cell.cumulative, seen.cumulative, strict=True)]
        cell.total += seen.total
        cell.exemplars = [new or old for old, new in zip(cell.exemplars, seen.exemplars, strict=True)]

    def family(self) -> Metric:
        """Return a copy of the numbers as a family."""
        family = HistogramMetricFamily(self._spec.name, self._spec.help, labels=tuple(self._spec.labels))
        bounds = [*map(floatToGoString, self.bounds), "+Inf"]
        for labels, cell in self._cells.items():
            buckets = [
                (bound, count) if exemplar is None else (bound, count, exemplar)
                for bound, count, exemplar in zip(bounds, cell.cumulative, cell.exemplars, strict=True)
            ]
            family.add_metric(labels, buckets, cell.total)
        return family
