"""Text for people: what others sent made harmless, and numbers, durations and times in words.

Owns the form in which a value is shown, so that `top`, the HTML page, `demo` and the other commands agree. Text that
producers, brokers or daemons sent may hold anything; nothing here escapes it for HTML or JSON, which is the template's
work. Pure, and imports nothing of pipeline.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

UNKNOWN: Final = "-"
"""Shown where there is no value."""
MAX_TEXT_CHARS: Final = 300

_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    # They begin escape sequences, too, and have no pictures.
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    # They turn the text behind them around, or isolate it: what is read is not what is there. Two more end a line.
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029), 0xFFFD),
}
_ESCAPES: Final = {code: f"\\u{code:04x}" for code in _PICTURES if code >= 0x20}  # noqa: PLR2004 - a blank
"""JSON has no control characters below that."""
_BREAK: Final = "\u240a"
_REPLACEMENT: Final = "\ufffd"

_THOUSAND: Final = 1_000
_MIN_ROUNDED: Final = 10_000_000
"""The least number that is rounded."""
_FEW: Final = 10.0
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def visible(text: str) -> str:
    """Return the text with control characters as their pictures: no escape sequence may reach the terminal.

    What turns the direction of text is replaced, too.
    """
    return text.translate(_PICTURES)


def visible_json(text: str) -> str:
    """Return JSON of the same meaning, in which what `visible` replaces is written as an escape."""
    return text.translate(_ESCAPES)


def visible_line(text: str) -> str:
    """Return the text visible and on one line: it must not look like a line that runstep wrote."""
    return visible(text).replace("\n", _BREAK)


def readable(value: Any, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return a value for a cell: visible, on one line, at most so long, and without what has no width or direction."""
    line = visible_line(" ".join(str(value)[: max_chars * 4].split()))
    seen = "".join(character if character.isprintable() else _REPLACEMENT for character in line)
    return seen if len(seen) <= max_chars else seen[: max_chars - 1] + "…"


def exact_count(number: float | None) -> str:
    """Return a number of things with separators."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def count(number: float | None) -> str:
    """Return a number of things: exact below ten million, rounded from there on: `12.3 M`, `4.56 G`."""
    if number is None or abs(number) < _MIN_ROUNDED:
        return exact_count(number)
    number /= _THOUSAND
    for unit in "MGT":
        number /= _THOUSAND
        if abs(number) < _THOUSAND:
            return f"{number:.3g} {unit}"
    return f"{number:,.0f} T"


def decimal(number: float | None) -> str:
    """Return a measurement: with separators, and with at most three decimals."""
    return UNKNOWN if number is None else f"{number:,.3f}".rstrip("0").rstrip(".")


def rate(number: float | None) -> str:
    """Return a number of things per second, without the unit: one decimal below ten."""
    if number is None:
        return UNKNOWN
    if number and abs(number) < _FEW:
        return f"{number:.1f}" if abs(number) >= 0.05 else "<0.1"  # noqa: PLR2004 - what rounds to 0.0
    return count(number)


def percent(part: float | None, of: float = 1.0) -> str:
    """Return a share; `100 %` only where nothing is missing."""
    if part is None or not of:
        return UNKNOWN
    share = 100 * part / of
    if part < of and share > 99.99:  # noqa: PLR2004 - it would be rounded up
        return "> 99.99 %"
    return f"{share:.2f}".rstrip("0").rstrip(".") + " %"


def duration(seconds: float | None) -> str:
    """Return a duration in units that suit it: `340 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * _THOUSAND:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for size_s, unit, smaller_s, smaller in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if seconds >= size_s:
            return _two_units(int(seconds), size_s, unit, smaller_s, smaller)
    return _two_units(int(seconds), _MINUTE, "min", 1, "s")


def _two_units(seconds: int, size_s: int, unit: str, smaller_s: int, smaller: str) -> str:
    rest = seconds % size_s // smaller_s
    return f"{seconds // size_s} {unit}" + (f" {rest} {smaller}" if rest else "")


def byte_size(number: float | None) -> str:
    """Return an amount of memory or storage."""
    if number is None:
        return UNKNOWN
    for unit, name in _SIZES:
        if number >= unit:
            return f"{number / unit:.0f} {name}" if number >= _FEW * unit else f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"


def utc_time(when: datetime | int | None) -> str:
    """Return a time to the second, in UTC, without the zone.

    Args:
        when: a time in UTC, or milliseconds since the epoch; beyond all calendars those are shown as a number.
    """
    if when is None:
        return UNKNOWN
    try:
        moment = when if isinstance(when, datetime) else _EPOCH + timedelta(milliseconds=when)
    except OverflowError:
        return str(when)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def local_clock(seconds: float | None) -> str:
    """Return the time of the day in the zone of this machine; `seconds` since the epoch."""
    return UNKNOWN if seconds is None else time.strftime("%H:%M:%S", time.localtime(seconds))
