"""Reads a time from the command line: an age such as 2h, or a date."""

import re
import time
from datetime import UTC, datetime
from typing import Final

import typer

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def parse_time(text: str | None) -> int | None:
    """Return milliseconds since the epoch for an age such as `2h`, or for an ISO time, in UTC unless it has a zone.

    Raises:
        BadParameter: it is neither.
    """
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if ago:
        return round((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither an age such as 2h or 7d nor a time such as 2026-01-31T12:00"
        ) from None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
