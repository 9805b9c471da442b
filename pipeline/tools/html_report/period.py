"""The time range of a page, and the buckets it is drawn in. All times are UTC, in milliseconds since the epoch."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from pipeline.tools.queries import values

_MOST_BUCKETS: Final = 150
_SECOND: Final = 1_000
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_WIDTHS: Final = tuple(
    seconds * _SECOND
    for seconds in (
        *(1, 2, 5, 10, 15, 30),
        *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30)),
        *(hours * 3_600 for hours in (1, 2, 3, 6, 12)),
        *(days * 86_400 for days in (1, 2, 7, 14, 28, 91, 364)),
    )
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = (round(bound.timestamp() * _SECOND) for bound in (values.FIRST, values.LAST))


def moment(stamp: int) -> str:
    """Return a time as it is shown: to the second, without a zone."""
    return f"{_EPOCH + timedelta(milliseconds=stamp):%Y-%m-%d %H:%M:%S}"


def span(milliseconds: int) -> str:
    """Return a length of time in its largest whole unit, as it stands behind `per`: `minute`, `2 hours`."""
    seconds = milliseconds // _SECOND
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return unit if seconds == size else f"{seconds // size} {unit}s"


@dataclass(frozen=True)
class Period:
    """From `since` until just before `until`.

    Raises:
        ValueError: nothing lies between the two.
    """

    since: int
    until: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "since", max(self.since, _FIRST))
        object.__setattr__(self, "until", min(self.until, _LAST))
        if self.since >= self.until:
            raise ValueError("the range is empty")

    @cached_property
    def width(self) -> int:
        """Return how long a bucket is: round lengths, at most 150 of them, whole minutes and days as clocks have."""
        fitting = (width for width in _WIDTHS if self._buckets(width) <= _MOST_BUCKETS)
        return next(fitting, _WIDTHS[-1])

    @property
    def origin(self) -> int:
        """Return the beginning of the first bucket, which may lie before `since`."""
        return self.since // self.width * self.width

    @property
    def buckets(self) -> int:
        """Return how many buckets there are."""
        return self._buckets(self.width)

    def starts(self) -> list[str]:
        """Return the beginning of each bucket."""
        return [moment(self.origin + number * self.width) for number in range(self.buckets)]

    def parameters(self) -> dict[str, Any]:
        """Return what the questions are asked with."""
        return {**values.span(self.since, self.until), "origin": self.origin, "width": self.width}

    def __str__(self) -> str:
        return f"{moment(self.since)} to {moment(self.until)} UTC"

    def _buckets(self, width: int) -> int:
        return (self.until - 1) // width - self.since // width + 1
