"""Timestamps of every dialect, as milliseconds since the epoch in UTC.

Owns the rules for units, for "not set" and for the dates that known SDKs corrupt. The unit is decided per value, since
one object can hold seconds beside milliseconds.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

_SECOND: Final = 1_000
_DAY: Final = 86_400_000
_LAST_HOUR: Final = 23
_LAST_MINUTE: Final = 59
_LEAP_SECOND: Final = 60
_LATEST: Final = 10_413_792_000_000  # 2300-01-01: where DateTime64 ends
_LATEST_SECONDS: Final = _LATEST // 1000

# Seconds taken for milliseconds fall into these days (@azure/openai-assistants before 1.0.0-beta.5).
_SHRUNK_FROM: Final = 17 * _DAY  # 1970-01-18
_SHRUNK_TO: Final = 24 * _DAY  # 1970-01-25
_PLAIN_SECONDS: Final = _SHRUNK_TO // 1000

# Milliseconds taken for seconds: the years 2001 to 2100 become the years 33658 to 131900.
_GROWN_FROM: Final = 1_000_000_000_000_000
_GROWN_TO: Final = 4_102_444_800_000_000

_MILLIS_FROM: Final = 10**11
_MICROS_FROM: Final = 10**14
_NANOS_FROM: Final = 10**17

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH: Final = _EPOCH.replace(tzinfo=None)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_CYCLE_YEARS: Final = 400
_CYCLE_DAYS: Final = 146_097

_PARTS: Final = ("year", "month", "day", "hour", "minute", "second", "ahead", "ahead_minutes")
_SEPARATORS: Final = frozenset({"", " ", "T", "t"})
_UNSET_WORDS: Final = frozenset({"", "null", "none"})
_UNSET_CLOCKS: Final = frozenset({"1970-01-0100:00:00", "1969-12-3123:59:59"})
_number: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII).fullmatch
_calendar: Final = re.compile(
    r"(?P<year>[+-]\d{4,6}|\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?:Z|UTC|GMT|(?P<sign>[+-])(?P<ahead>\d\d)(?::?(?P<ahead_minutes>\d\d))?)?(?: UTC| GMT)?)?",
    re.ASCII | re.IGNORECASE,
).fullmatch
_from_iso: Final = datetime.fromisoformat


def millis(value: object, anomalies: list[str]) -> int | None:
    """Return the instant in milliseconds since the epoch, or None where none is set or none can be read.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their size; text is a number or ISO-8601, without
    an offset UTC. `0`, `-1`, empty text and their ISO forms mean "not set". Fractions of a millisecond are rounded.
    Never raises and never clamps: what lies outside of 1970 to 2299 is unreadable.

    Args:
        value: whatever JSON can hold.
        anomalies: gets `unit_repaired` or `unreadable_timestamp`, each at most once.
    """
    if value is None:
        return None
    if type(value) is int and _PLAIN_SECONDS <= value < _LATEST_SECONDS:
        return value * 1000
    return _rarer(value, anomalies)


def _rarer(value: object, anomalies: list[str]) -> int | None:
    instant = _instant(value)
    if instant is not None:
        if -_SECOND <= instant < _SECOND:
            return None
        if _SHRUNK_FROM <= instant < _SHRUNK_TO:
            _note("unit_repaired", anomalies)
            return instant * 1000
        if 0 < instant < _LATEST:
            return instant
        if _GROWN_FROM <= instant < _GROWN_TO:
            _note("unit_repaired", anomalies)
            return (instant + 500) // 1000
    _note("unreadable_timestamp", anomalies)
    return None


def _instant(value: object) -> int | None:
    """Return milliseconds as written, also corrupted ones; about 0 where none is set, None where none is there."""
    if type(value) is str:
        return _of_text(value)
    if type(value) is int:
        return _of_int(value)
    if type(value) is float:
        return _of_float(value)
    return None


def _note(anomaly: str, anomalies: list[str]) -> None:
    if anomaly not in anomalies:
        anomalies.append(anomaly)


def _of_int(value: int) -> int | None:
    if value <= 0:
        return value if value >= -1 else None
    if value < _MILLIS_FROM:
        instant = value * 1000
    elif value < _MICROS_FROM:
        instant = value
    elif value < _NANOS_FROM:
        instant = (value + 500) // 1000
    else:
        instant = (value + 500_000) // 1_000_000
    return instant if instant < _LATEST else None


def _of_float(value: float) -> int | None:
    if value in (0.0, -1.0):
        return 0
    if not 0 < value < _LATEST * 1e6:  # also false for NaN
        return None
    if value < _MILLIS_FROM:
        scaled = value * 1000
    elif value < _MICROS_FROM:
        scaled = value
    else:
        return _of_int(int(value))
    instant = int(scaled + 0.5)
    return instant if instant < _LATEST else None


def _of_text(text: str) -> int | None:
    text = text.strip()
    instant: int | None = None
    if (text[4:5] == "-" and text[10:11] in _SEPARATORS) or text[8:9] in ("T", "t"):
        instant = _of_iso(text)
    elif _number(text):
        return _of_digits(text)
    elif text.lower() in _UNSET_WORDS:
        return 0
    if instant is None:
        instant = _of_calendar(text)
    # A zero that a producer printed in its own time zone is still a zero.
    if instant is not None and -_DAY < instant < _DAY and text[:10] + text[11:19] in _UNSET_CLOCKS:
        return 0
    return instant


def _of_digits(text: str) -> int | None:
    try:
        return _of_int(int(text))
    except ValueError:
        return _of_float(float(text))


def _of_iso(text: str) -> int | None:
    try:
        moment = _from_iso(text)
    except ValueError:
        return None
    since = moment - (_EPOCH if moment.tzinfo else _LOCAL_EPOCH)
    return since.days * _DAY + since.seconds * 1000 + (since.microseconds + 500) // 1000


def _of_calendar(text: str) -> int | None:
    """Read what `fromisoformat` does not: years beyond 9999, leap seconds, `UTC` in letters, blanks before offsets."""
    found = _calendar(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, ahead, ahead_minutes = (int(digits or 0) for digits in found.group(*_PARTS))
    if max(hour, ahead) > _LAST_HOUR or max(minute, ahead_minutes) > _LAST_MINUTE or second > _LEAP_SECOND:
        return None
    days = _days(year, month, day)
    if days is None:
        return None
    shift = (ahead * 60 + ahead_minutes) * 60
    seconds = hour * 3600 + minute * 60 + second + (shift if found["sign"] == "-" else -shift)
    micros = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    return days * _DAY + seconds * 1000 + (micros + 500) // 1000


def _days(year: int, month: int, day: int) -> int | None:
    """Count the days since the epoch in the Gregorian calendar, which repeats itself every 400 years."""
    cycles, year_of_cycle = divmod(year, _CYCLE_YEARS)
    try:
        ordinal = date(2000 + year_of_cycle, month, day).toordinal()
    except ValueError:
        return None
    return ordinal + (cycles - 2000 // _CYCLE_YEARS) * _CYCLE_DAYS - _EPOCH_DAY
