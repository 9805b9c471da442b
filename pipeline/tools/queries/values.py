"""What a report can be told: its parameters, and the span of time it is about."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = datetime(1973, 3, 5, tzinfo=UTC)
LAST: Final = datetime(2286, 11, 18, tzinfo=UTC)
"""All time, with a day to spare for what looks around a span. A shard is sent such a time as its seconds since the
epoch, and reads nine or ten digits; no step is older."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in a report that whoever asks can set; `type` is the server's, a number or a text."""

    name: str
    type: str
    default: str
    meaning: str

    def check(self, value: str) -> None:
        """Raise a ValueError that tells what the value should be, unless it is that."""
        if self.type != "String" and not _NUMBER.fullmatch(value):
            raise ValueError(f"{self.name}={value}: {self.name} is a whole number, such as {self.default}")

    def literal(self, value: str) -> str:
        """Return the value as it stands in SQL."""
        if self.type != "String":
            return value
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{quoted}'"


def span(since: int | None, until: int | None) -> dict[str, str]:
    """Return the two times that every report takes; milliseconds since the epoch, None for no bound.

    Raises:
        ValueError: the span ends before it begins.
    """
    begin, end = (_within(since, FIRST), _within(until, LAST))
    if begin >= end:
        raise ValueError("the span is empty: --since has to be earlier than --until")
    return {"since": _text(begin), "until": _text(end)}


def _within(moment: int | None, otherwise: datetime) -> datetime:
    if moment is None:
        return otherwise
    seconds = min(max(moment / 1000, FIRST.timestamp()), LAST.timestamp())
    return _EPOCH + timedelta(milliseconds=round(seconds * 1000))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


EVER: Final = span(None, None)
"""All time."""
