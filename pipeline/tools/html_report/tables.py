"""Tables: rows of answers turned into rows of text, with a style for each column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

from pipeline import text
from pipeline.tools.html_report.page_queries import Row

_MAX_ID_CHARS: Final = 80
_MAX_MESSAGE_CHARS: Final = 400
_MAX_NAMES: Final = 6


@dataclass(frozen=True)
class PageColumn:
    """A column: its heading, how a row's value is shown, and its class in the style sheet."""

    heading: str
    shown: Callable[[Row], str]
    style: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with its caption, a description, and a sentence for when it has no rows."""

    key: str
    title: str
    description: str
    columns: Sequence[PageColumn]
    rows: Sequence[Row]
    empty: str
    wide: bool = True

    def cells(self) -> list[list[tuple[str, str]]]:
        """Return each row as pairs of text and style."""
        return [[(column.shown(row), column.style) for column in self.columns] for row in self.rows]


def number(heading: str, name: str) -> PageColumn:
    """Return a column of whole numbers."""
    return PageColumn(heading, lambda row: text.exact_count(row[name]), "number")


def elapsed(heading: str, name: str, position: int | None = None) -> PageColumn:
    """Return a column of durations in milliseconds, or of one of several in a list."""
    return PageColumn(heading, lambda row: text.duration(_seconds(row[name], position)), "number")


def time(heading: str, name: str) -> PageColumn:
    """Return a column of times."""
    return PageColumn(f"{heading} (UTC)", lambda row: text.utc_time(row[name]), "time")


def word(heading: str, name: str) -> PageColumn:
    """Return a column of short text."""
    return PageColumn(heading, lambda row: text.readable(row[name], _MAX_ID_CHARS))


def identity(heading: str, name: str) -> PageColumn:
    """Return a column of ids, in the style of text to be copied."""
    return PageColumn(heading, lambda row: text.readable(row[name], _MAX_ID_CHARS), "id")


def message(heading: str, name: str) -> PageColumn:
    """Return a column of sentences."""
    return PageColumn(heading, lambda row: text.readable(row[name], _MAX_MESSAGE_CHARS), "message")


def names(heading: str, name: str) -> PageColumn:
    """Return a column of lists of names, each once."""
    return PageColumn(heading, lambda row: _listed(row[name]))


def _seconds(value: Any, position: int | None) -> float | None:
    picked = value if position is None else value[position]
    # The percentile of no values is NaN.
    return None if picked is None or isnan(picked) else picked / 1000


def _listed(values: Sequence[str]) -> str:
    once = list(dict.fromkeys(values))
    more = f", {len(once) - _MAX_NAMES} more" if len(once) > _MAX_NAMES else ""
    return ", ".join(text.readable(value, _MAX_ID_CHARS) for value in once[:_MAX_NAMES]) + more
