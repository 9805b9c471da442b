"""The time range of a page, and the buckets of its plots. All times are UTC, in milliseconds since the epoch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pipeline.text import utc_time
from pipeline.tools.queries import parameters

_MAX_BUCKETS: Final = 150
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
_FIRST, _LAST = (round(bound.timestamp() * _SECOND) for bound in (parameters.FIRST, parameters.LAST))


def bucket_name(milliseconds: int) -> str:
    """Return the width of a bucket in its largest whole unit, to follow `per`: `minute`, `2 hours`."""
    seconds = milliseconds // _SECOND
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return unit if seconds == size else f"{seconds // size} {unit}s"


@dataclass(frozen=True)
class Period:
    """From `since` until just before `until`.

    Raises:
        ValueError: the range is empty.
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
        """Return the width of a bucket: the least round one that makes at most 150 buckets."""
        fitting = (width for width in _WIDTHS if self._buckets(width) <= _MAX_BUCKETS)
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
        return [utc_time(self.origin + number * self.width) for number in range(self.buckets)]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the queries."""
        return {**parameters.time_bounds(self.since, self.until), "origin": self.origin, "width": self.width}

    def __str__(self) -> str:
        return f"{utc_time(self.since)} to {utc_time(self.until)} UTC"

    def _buckets(self, width: int) -> int:
        return (self.until - 1) // width - self.since // width + 1
