"""Turns counters of daemons that restart into rates and into sums that never fall; quantiles of histograms.

Plain data in, plain data out: no clock, no IO.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

Labels: TypeAlias = frozenset[tuple[str, str]]
Samples: TypeAlias = Mapping[str, Mapping[Labels, float]]
"""Name of a sample, as exposed, to labels to value."""

GROWING: Final = ("_total", "_bucket", "_count", "_sum")
"""How the samples of counters and histograms end."""

_MAX_PROCESSES: Final = 8

_NOTHING: Final[Mapping[Labels, float]] = {}


def labels(**pairs: str) -> Labels:
    """Return labels as the keys of `Samples` have them."""
    return frozenset(pairs.items())


class Flow:
    """Growth per second, of one daemon or of several together.

    Attributes:
        growth: series by series.
    """

    def __init__(self, growth: Samples) -> None:
        self.growth = growth

    @classmethod
    def together(cls, flows: Iterable["Flow"]) -> "Flow":
        """Return the sum of several."""
        return cls(added(flow.growth for flow in flows))

    def rate(self, name: str, **wanted: str) -> float:
        """Return the growth per second of all series that have these labels."""
        return total(self.growth, name, **wanted)

    def by(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """Return the growth per second for each value of a label."""
        return grouped(self.growth, name, label, **wanted)

    def mean(self, name: str, **wanted: str) -> float | None:
        """Return the mean of what a histogram observed; None when it observed nothing."""
        count = self.rate(f"{name}_count", **wanted)
        return self.rate(f"{name}_sum", **wanted) / count if count else None

    def quantile(self, share: float, name: str, **wanted: str) -> float | None:
        """Return the value below which that share of the observations is, as PromQL's histogram_quantile does.

        Within a bucket they are taken to be spread evenly; beyond the last bound nothing is known but that bound. None
        when nothing was observed.
        """
        buckets = sorted(
            (float(bound), count) for bound, count in self.by(f"{name}_bucket", "le", **wanted).items() if bound
        )
        if not buckets or not buckets[-1][1]:
            return None
        rank = share * buckets[-1][1]
        lower = below = 0.0
        for bound, count in buckets:
            if count >= rank:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (rank - below) / (count - below) if count > below else bound
            lower, below = bound, count
        return lower


class Tally:
    """The counters of one daemon over all its restarts, or of several behind a load balancer.

    Attributes:
        sums: what was counted when it was first seen, and all that came since.
    """

    def __init__(self, keep: float) -> None:
        """Begin without samples.

        Args:
            keep: seconds that the widest window reaches back.
        """
        self.sums: Samples = {}
        self._keep = keep
        self._last: dict[float, Samples] = {}
        self._history: deque[tuple[float, Samples]] = deque()

    def take(self, at: float, samples: Samples, born: float) -> None:
        """Take the samples of a scrape.

        Args:
            at: monotonic seconds.
            samples: of the scrape; only counters and histograms are used.
            born: when its process began; each process has counters of its own.
        """
        growing = {name: values for name, values in samples.items() if name.endswith(GROWING)}
        self.sums = added((self.sums, _grown(self._last.pop(born, {}), growing)))
        self._last[born] = growing
        if len(self._last) > _MAX_PROCESSES:
            del self._last[next(iter(self._last))]
        self._history.append((at, self.sums))
        # One that is older stays: the window begins at it.
        while len(self._history) > 1 and self._history[1][0] <= at - self._keep:
            self._history.popleft()

    def flow(self, window: float) -> Flow:
        """Return the growth over the last `window` seconds of the history, or over all of it where that is shorter."""
        if len(self._history) <= 1:
            return Flow({})
        now, sums = self._history[-1]
        then, before = next(
            (at, old) for at, old in reversed(self._history) if at <= now - window or self._is_first(at)
        )
        return Flow(_scaled(_grown(before, sums), 1.0 / max(now - then, 1e-3)))

    def _is_first(self, at: float) -> bool:
        return at == self._history[0][0]


def total(samples: Samples, name: str, **wanted: str) -> float:
    """Return the sum over all series that have these labels."""
    pairs = wanted.items()
    return sum(value for key, value in samples.get(name, _NOTHING).items() if pairs <= key)


def grouped(samples: Samples, name: str, label: str, **wanted: str) -> dict[str, float]:
    """Return the sums for each value of a label."""
    pairs = wanted.items()
    groups: defaultdict[str, float] = defaultdict(float)
    for key, value in samples.get(name, _NOTHING).items():
        if pairs <= key:
            groups[dict(key).get(label, "")] += value
    return dict(groups)


def added(several: Iterable[Samples]) -> Samples:
    """Return the sums, series by series."""
    sums: dict[str, dict[Labels, float]] = {}
    for samples in several:
        for name, values in samples.items():
            into = sums.setdefault(name, {})
            for key, value in values.items():
                into[key] = into.get(key, 0.0) + value
    return sums


def _grown(before: Samples, after: Samples) -> Samples:
    """Return the growth of each series; one that fell was reset and counts from zero."""
    grown: dict[str, dict[Labels, float]] = {}
    for name, values in after.items():
        old = before.get(name, _NOTHING)
        grown[name] = {
            key: value - then if value >= (then := old.get(key, 0.0)) else value for key, value in values.items()
        }
    return grown


def _scaled(samples: Samples, factor: float) -> Samples:
    return {name: {key: value * factor for key, value in values.items()} for name, values in samples.items()}
