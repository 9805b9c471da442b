"""Partitions over time, whoever has them: pace, lag and its trend, and what becomes of those that nobody has."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import linear_regression
from typing import Any, Final, NamedTuple, TypeVar

from pipeline.endpoints.status import PartitionStatus
from pipeline.tools.top.figures import Partition, PartitionState, Trend

Point = TypeVar("Point", bound=tuple[Any, ...])

PACE: Final = 10.0
"""Seconds over which rates are taken: a batch is committed at once, and a rate of one sample would jump."""

TREND: Final = 30.0
"""Seconds over which a lag grows or shrinks."""

FORGOTTEN: Final = 60.0
"""Seconds for which a partition that nobody has is still shown."""

_MOST_LAGS: Final = 120
_MOST_DIGITS: Final = 10
_LIVE: Final = 2.0
"""Seconds of records that are always under way: a lag that is no more than that is none."""
_STEADY: Final = 0.02
"""Share of the lag by which it has to change within `TREND` to be more than noise."""


class Claim(NamedTuple):
    """What a member says of a partition of its own.

    Attributes:
        daemon: the address behind which it is.
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


class _Track:
    """One partition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.topic, _, number = name.rpartition("/")
        self.number = int(number) if number.isdecimal() and len(number) <= _MOST_DIGITS else -1
        self.claim = Claim("", "", PartitionStatus(), None, 0.0)
        self.claimed_at = 0.0
        self._claimants: frozenset[str] = frozenset()
        self.lag: int | None = None
        self._points: deque[_Point] = deque()

    def take(self, at: float, claims: Sequence[Claim]) -> None:
        """Take who has it; of two members that say so it is the new one: the other has not noticed yet.

        That may last, where the other has lost Kafka: who was the new one stays it.
        """
        new = [claim for claim in claims if claim.member not in self._claimants]
        same = [claim for claim in claims if claim.member == self.claim.member]
        self.claim = (new or same or claims)[0]
        self._claimants = frozenset(claim.member for claim in claims)
        self.claimed_at = at
        place = self.claim.place
        self.lag = self.lag if place.lag is None else place.lag
        self._points.append(_Point(at, place.position, self.lag))
        while len(self._points) > _MOST_LAGS:
            self._points.popleft()

    def shown(self, at: float, wall: float, away: Collection[str]) -> Partition:
        """Return its figures."""
        place, state = self.claim.place, self._state(at, away)
        reading = state in {"read", "halted"}
        lags = [(point.at, point.lag) for point in self._points if point.lag is not None]
        return Partition(
            name=self.name,
            topic=self.topic,
            number=self.number,
            daemon=self.claim.daemon,
            member=self.claim.member,
            state=state,
            position=place.position,
            committed=place.committed,
            lag=self.lag,
            lags=tuple(lag for _, lag in lags),
            lag_growth=growth(lately(lags, at - TREND)) if reading else None,
            rate=self._rate(at) if reading else None,
            age=self._age(wall),
            halted=self.claim.halted,
        )

    def _state(self, at: float, away: Collection[str]) -> PartitionState:
        if self.claim.daemon in away:
            return "away"
        if self.claimed_at < at:
            return "gone"
        return "halted" if self.claim.halted is not None else "read"

    def _age(self, wall: float) -> float | None:
        if self.lag == 0:
            return 0.0
        return None if self.lag is None or not self.claim.read_at else max(wall - self.claim.read_at, 0.0)

    def _rate(self, at: float) -> float | None:
        """Return how fast it is read. A position goes back where another owner reads again: that is no speed."""
        points = lately([point for point in self._points if point.position is not None], at - PACE)
        if len(points) <= 1 or points[-1].at <= points[0].at:
            return None
        forward = sum(max((after.position or 0) - (before.position or 0), 0) for before, after in pairwise(points))
        return forward / (points[-1].at - points[0].at)


class Partitions:
    """All partitions that were seen, until nobody has had them for a while."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def take(self, at: float, claims: Mapping[str, Sequence[Claim]], away: Collection[str]) -> None:
        """Take what all members say at one moment; those of members that are away stay theirs."""
        for name, own in claims.items():
            self._tracks.setdefault(name, _Track(name)).take(at, own)
        self._tracks = {
            name: track
            for name, track in self._tracks.items()
            if track.claim.daemon in away or track.claimed_at > at - FORGOTTEN
        }

    def shown(self, at: float, wall: float, away: Collection[str]) -> tuple[Partition, ...]:
        """Return their figures, by topic and number."""
        tracks = sorted(self._tracks.values(), key=lambda track: (track.topic, track.number))
        return tuple(track.shown(at, wall, away) for track in tracks)


def lately(points: Sequence[Point], begin: float) -> Sequence[Point]:
    """Return the points (seconds first) since then and the last one before, which leads there.

    So there are two of them however seldom one looks.
    """
    before = [point for point in points if point[0] <= begin]
    return [*before[-1:], *(point for point in points if point[0] > begin)]


def growth(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope of the line through (seconds, value) that fits best; None where there is none."""
    times = [at for at, _ in points]
    if len(set(times)) <= 1:
        return None
    return float(linear_regression(times, [value for _, value in points]).slope)


def trend(lag: float | None, slope: float | None, speed: float | None) -> Trend:
    """Say what a lag does.

    Args:
        lag: in records.
        slope: its growth per second.
        speed: records read per second.
    """
    if lag is None or slope is None:
        return "unknown"
    if lag <= _LIVE * (speed or 0.0):
        return "caught up"
    if abs(slope) * TREND < max(_STEADY * lag, 1.0):
        return "steady"
    return "growing" if slope > 0 else "shrinking"
