"""How values are shown: numbers with separators, durations in their unit, and text that producers sent.

That text is data of strangers. Here it is made harmless to the eye (no control or direction characters, bounded);
escaping it for HTML and JSON is for the template alone.
"""

from datetime import datetime
from typing import Any, Final

LONGEST: Final = 300
NOTHING: Final = "\N{EN DASH}"
_THOUSAND: Final = 1_000
_LONG: Final = 10_000_000
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def readable(value: Any, longest: int = LONGEST) -> str:
    """Return text on one line, without what cannot be seen, and bounded in length."""
    cut = " ".join(str(value)[: longest * 4].split())
    seen = "".join(character if character.isprintable() else "\ufffd" for character in cut)
    return seen if len(seen) <= longest else seen[: longest - 1] + "…"


def whole(value: float | None) -> str:
    """Return a number with separators."""
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Return a number as it is up to ten million, and rounded beyond: `12.3 M`, `4.56 G`."""
    if value is None or abs(value) < _LONG:
        return whole(value)
    value /= _THOUSAND
    for unit in "MGT":
        value /= _THOUSAND
        if abs(value) < _THOUSAND:
            return f"{value:.3g} {unit}"
    return f"{value:,.0f} T"


def percent(part: float, of: float) -> str:
    """Return a share, in a form that says 100 only where nothing is missing."""
    if not of:
        return NOTHING
    share = 100 * part / of
    if part < of and share > 99.99:  # noqa: PLR2004 - it would be rounded up
        return "> 99.99 %"
    return f"{share:.2f}".rstrip("0").rstrip(".") + " %"


def duration(milliseconds: float | None) -> str:
    """Return a duration in units that suit it: `340 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < _THOUSAND:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / _THOUSAND
    if seconds < _MINUTE:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for size, unit, smaller, smaller_unit in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if seconds >= size:
            return _two(int(seconds), size, unit, smaller, smaller_unit)
    return _two(int(seconds), _MINUTE, "min", 1, "s")


def _two(seconds: int, size: int, unit: str, smaller: int, smaller_unit: str) -> str:
    rest = seconds % size // smaller
    return f"{seconds // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")


def time_of(value: datetime | None) -> str:
    """Return a time to the second; it is UTC, as every time of the page."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def plain(value: float | None) -> str:
    """Return a number of a drawing: with separators, and with three decimals where it is none without."""
    return NOTHING if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
