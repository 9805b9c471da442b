"""Partitions over time, through all their owners: rate, lag and its trend, and those that no member has any more."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import linear_regression
from typing import Any, Final, NamedTuple, TypeVar

from pipeline.endpoints.status import PartitionStatus
from pipeline.tools.top.figures import PartitionFigures, PartitionState, Trend

Point = TypeVar("Point", bound=tuple[Any, ...])

RATE_WINDOW_S: Final = 10.0
"""Seconds over which rates are averaged: a batch is committed at once, so the rate of one sample would jump."""

TREND_WINDOW_S: Final = 30.0
"""Seconds over which the trend of a lag is measured."""

FORGET_AFTER_S: Final = 60.0
"""Seconds for which a partition without an owner is still shown."""

_MAX_LAGS: Final = 120
_MAX_DIGITS: Final = 10
_CAUGHT_UP_S: Final = 2.0
"""Seconds of records that are always in flight: a lag below that counts as caught up."""
_STEADY_SHARE: Final = 0.02
"""Share of the lag by which it has to change within `TREND_WINDOW_S` to be more than noise."""


class Ownership(NamedTuple):
    """What a member reports of a partition that it owns.

    Attributes:
        daemon: the address of the member.
        member: its name.
        read_at: Kafka's timestamp of the last record that was read, 0 when there was none.
    """

    daemon: str
    member: str
    place: PartitionStatus
    halted: str | None
    read_at: float


class _Point(NamedTuple):
    at: float
    position: int | None
    lag: int | None


class _PartitionHistory:
    """One partition, through all its owners."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.topic, _, number = name.rpartition("/")
        self.number = int(number) if number.isdecimal() and len(number) <= _MAX_DIGITS else -1
        self.owner = Ownership("", "", PartitionStatus(), None, 0.0)
        self.owned_at = 0.0
        self._owners: frozenset[str] = frozenset()
        self.lag: int | None = None
        self._points: deque[_Point] = deque()

    def take(self, at: float, ownerships: Sequence[Ownership]) -> None:
        """Take the members that say they own it. Of two, the newer one is the owner: the other has not noticed yet.

        A member that has lost Kafka may keep claiming the partition; the newer owner stays the owner.
        """
        new = [each for each in ownerships if each.member not in self._owners]
        same = [each for each in ownerships if each.member == self.owner.member]
        self.owner = (new or same or ownerships)[0]
        self._owners = frozenset(each.member for each in ownerships)
        self.owned_at = at
        place = self.owner.place
        self.lag = self.lag if place.lag is None else place.lag
        self._points.append(_Point(at, place.position, self.lag))
        while len(self._points) > _MAX_LAGS:
            self._points.popleft()

    def shown(self, at: float, wall: float, away: Collection[str]) -> PartitionFigures:
        """Return its figures."""
        place, state = self.owner.place, self._state(at, away)
        reading = state in {"read", "halted"}
        lags = [(point.at, point.lag) for point in self._points if point.lag is not None]
        return PartitionFigures(
            name=self.name,
            topic=self.topic,
            number=self.number,
            daemon=self.owner.daemon,
            member=self.owner.member,
            state=state,
            position=place.position,
            committed=place.committed,
            lag=self.lag,
            lags=tuple(lag for _, lag in lags),
            lag_growth=growth(lately(lags, at - TREND_WINDOW_S)) if reading else None,
            rate=self._rate(at) if reading else None,
            age=self._age(wall),
            halted=self.owner.halted,
        )

    def _state(self, at: float, away: Collection[str]) -> PartitionState:
        if self.owner.daemon in away:
            return "away"
        if self.owned_at < at:
            return "gone"
        return "halted" if self.owner.halted is not None else "read"

    def _age(self, wall: float) -> float | None:
        if self.lag == 0:
            return 0.0
        return None if self.lag is None or not self.owner.read_at else max(wall - self.owner.read_at, 0.0)

    def _rate(self, at: float) -> float | None:
        """Return the records read per second. A step back, where a new owner reads again, counts as nothing."""
        points = lately([point for point in self._points if point.position is not None], at - RATE_WINDOW_S)
        if len(points) <= 1 or points[-1].at <= points[0].at:
            return None
        forward = sum(max((after.position or 0) - (before.position or 0), 0) for before, after in pairwise(points))
        return forward / (points[-1].at - points[0].at)


class PartitionOwners:
    """All partitions that were seen, until they have had no owner for a minute."""

    def __init__(self) -> None:
        self._histories: dict[str, _PartitionHistory] = {}

    def take(self, at: float, ownerships: Mapping[str, Sequence[Ownership]], away: Collection[str]) -> None:
        """Take what all members report at one moment; a member that is away keeps its partitions."""
        for name, own in ownerships.items():
            self._histories.setdefault(name, _PartitionHistory(name)).take(at, own)
        self._histories = {
            name: history
            for name, history in self._histories.items()
            if history.owner.daemon in away or history.owned_at > at - FORGET_AFTER_S
        }

    def shown(self, at: float, wall: float, away: Collection[str]) -> tuple[PartitionFigures, ...]:
        """Return their figures, by topic and number."""
        histories = sorted(self._histories.values(), key=lambda history: (history.topic, history.number))
        return tuple(history.shown(at, wall, away) for history in histories)


def lately(points: Sequence[Point], begin: float) -> Sequence[Point]:
    """Return the points (seconds first) since `begin`, and the last one before it.

    So there are two of them at any sampling interval.
    """
    before = [point for point in points if point[0] <= begin]
    return [*before[-1:], *(point for point in points if point[0] > begin)]


def growth(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope of the regression line through (seconds, value); None where all are at one moment."""
    times = [at for at, _ in points]
    if len(set(times)) <= 1:
        return None
    return float(linear_regression(times, [value for _, value in points]).slope)


def trend(lag: float | None, slope: float | None, speed: float | None) -> Trend:
    """Return how a lag develops.

    Args:
        lag: in records.
        slope: its growth per second.
        speed: records read per second.
    """
    if lag is None or slope is None:
        return "unknown"
    if lag <= _CAUGHT_UP_S * (speed or 0.0):
        return "caught up"
    if abs(slope) * TREND_WINDOW_S < max(_STEADY_SHARE * lag, 1.0):
        return "steady"
    return "growing" if slope > 0 else "shrinking"
