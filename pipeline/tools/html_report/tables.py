"""Tables: answers turned into rows of text, each column with how it is set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

from pipeline.tools.html_report.questions import Row
from pipeline.tools.html_report.text import duration, readable, time_of, whole

_LONGEST_ID: Final = 80
_LONGEST_MESSAGE: Final = 400
_MOST_NAMES: Final = 6


@dataclass(frozen=True)
class Column:
    """A column: its heading, how a row's value is shown, and its class in the style sheet."""

    heading: str
    shown: Callable[[Row], str]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption, what is worth knowing, and what to say where it has no rows."""

    key: str
    title: str
    description: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: str
    wide: bool = True

    def cells(self) -> list[list[tuple[str, str]]]:
        """Return each row as pairs of text and style."""
        return [[(column.shown(row), column.style) for column in self.columns] for row in self.rows]


def number(heading: str, name: str) -> Column:
    """Return a column of whole numbers."""
    return Column(heading, lambda row: whole(row[name]), "number")


def lasting(heading: str, name: str, position: int | None = None) -> Column:
    """Return a column of durations in milliseconds, or of one of several in a list."""
    return Column(heading, lambda row: duration(_picked(row[name], position)), "number")


def time(heading: str, name: str) -> Column:
    """Return a column of times."""
    return Column(f"{heading} (UTC)", lambda row: time_of(row[name]), "time")


def word(heading: str, name: str) -> Column:
    """Return a column of short text."""
    return Column(heading, lambda row: readable(row[name], _LONGEST_ID))


def identity(heading: str, name: str) -> Column:
    """Return a column of ids, which may be copied."""
    return Column(heading, lambda row: readable(row[name], _LONGEST_ID), "id")


def message(heading: str, name: str) -> Column:
    """Return a column of sentences."""
    return Column(heading, lambda row: readable(row[name], _LONGEST_MESSAGE), "message")


def names(heading: str, name: str) -> Column:
    """Return a column of lists of names, each once."""
    return Column(heading, lambda row: _listed(row[name]))


def _picked(value: Any, position: int | None) -> float | None:
    picked = value if position is None else value[position]
    # The percentile of nothing is not a number.
    return None if picked is None or isnan(picked) else float(picked)


def _listed(values: Sequence[str]) -> str:
    once = list(dict.fromkeys(values))
    more = f", {len(once) - _MOST_NAMES} more" if len(once) > _MOST_NAMES else ""
    return ", ".join(readable(value, _LONGEST_ID) for value in once[:_MOST_NAMES]) + more
