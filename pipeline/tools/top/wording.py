"""Numbers in words that are short and never jump in width more than they must."""

import time
from typing import Final

UNKNOWN: Final = "-"

_MANY: Final = 10_000_000
_FEW: Final = 10.0
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SPANS: Final = ((172_800.0, 86_400.0, "d"), (7_200.0, 3_600.0, "h"), (120.0, 60.0, "min"))


def count(number: float | None) -> str:
    """Return a number of things."""
    if number is None:
        return UNKNOWN
    if abs(number) >= _MANY:
        return f"{number / 1e6:,.1f}M"
    return f"{number:,.0f}"


def pace(number: float | None) -> str:
    """Return a number of things per second, without the unit."""
    if number is None:
        return UNKNOWN
    if number and abs(number) < _FEW:
        return f"{number:.1f}" if abs(number) >= 0.05 else "<0.1"  # noqa: PLR2004 - what rounds to 0.0
    return count(number)


def span(seconds: float | None) -> str:
    """Return a duration."""
    if seconds is None:
        return UNKNOWN
    for begin, unit, name in _SPANS:
        if seconds >= begin:
            return f"{seconds / unit:.0f} {name}"
    if seconds >= _FEW:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def size(number: float | None) -> str:
    """Return an amount of memory."""
    if number is None:
        return UNKNOWN
    for unit, name in _SIZES:
        if number >= unit:
            return f"{number / unit:.0f} {name}" if number >= _FEW * unit else f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"


def share(number: float | None) -> str:
    """Return a part of 1 in percent; what is not all is never shown as all."""
    if number is None:
        return UNKNOWN
    percent = f"{100 * number:.1f} %"
    return "99.9 %" if percent == "100.0 %" and number < 1 else percent


def clock(seconds: float | None) -> str:
    """Return the time of the day, as it is here."""
    return UNKNOWN if seconds is None else time.strftime("%H:%M:%S", time.localtime(seconds))
