"""The parameters of a report, and the time range that every report takes."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = datetime(1973, 3, 5, tzinfo=UTC)
LAST: Final = datetime(2105, 12, 31, tzinfo=UTC)
"""The bounds of all time, with room for reports that look beyond their range. ClickHouse sends a shard such a time as
seconds since the epoch, and the shard reads nine or ten digits; no step is older. The hours in the key of run_steps end
in 2106: some servers find nothing at all before a later time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in a report that --set can change; `type` is a ClickHouse type, of a number or a text."""

    name: str
    type: str
    default: str
    meaning: str

    def check(self, value: str) -> None:
        """Raise a ValueError that names the expected form, unless the value has it."""
        if self.type != "String" and not _NUMBER.fullmatch(value):
            raise ValueError(f"{self.name}={value}: {self.name} must be a whole number, such as {self.default}")

    def literal(self, value: str) -> str:
        """Return the value as an SQL literal."""
        if self.type != "String":
            return value
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{quoted}'"


def time_bounds(since: int | None, until: int | None) -> dict[str, str]:
    """Return `since` and `until` as reports take them, given in milliseconds since the epoch, None for no bound.

    Raises:
        ValueError: the range ends before it begins.
    """
    begin, end = (_within(since, FIRST), _within(until, LAST))
    if begin >= end:
        raise ValueError("the time range is empty: --since must be before --until")
    return {"since": _text(begin), "until": _text(end)}


def _within(moment: int | None, otherwise: datetime) -> datetime:
    if moment is None:
        return otherwise
    seconds = min(max(moment / 1000, FIRST.timestamp()), LAST.timestamp())
    return _EPOCH + timedelta(milliseconds=round(seconds * 1000))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


ALL_TIME: Final = time_bounds(None, None)
