"""Tables that fit their width: a narrow one leaves out the less important columns. Text is put in as it is."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from rich.table import Table
from rich.text import Text

GAP: Final = 2
"""Terminal columns between two columns of a table."""

_MIN_TEXT_WIDTH: Final = 24

HEAD: Final = "#8592a6"
"""The style of headings and other secondary text."""

Row = TypeVar("Row")


class TableColumn(NamedTuple, Generic[Row]):
    """A column.

    Attributes:
        head: its name.
        cell: what it shows for a row.
        right: whether it is aligned to the right.
        rank: a narrow table leaves out the highest first; 0 is always shown.
        is_long: whether it takes the width that the others leave, and wraps.
    """

    head: str
    cell: Callable[[Row], Text]
    right: bool = True
    rank: int = 0
    is_long: bool = False


def fitted_table(columns: Sequence[TableColumn[Row]], rows: Sequence[Row], width: int, nothing: str) -> Table:
    """Return the rows in the columns that fit, or the text `nothing` where there are no rows."""
    made = Table(box=None, padding=(0, GAP, 0, 0), header_style=HEAD, pad_edge=False, expand=False)
    if not rows:
        made.show_header = False
        made.add_column()
        made.add_row(Text(nothing, HEAD))
        return made
    shown = _fitting([_Cells(column, [column.cell(row) for row in rows]) for column in columns], width)
    rest = width - sum(each.width for each in shown if not each.column.is_long)
    for each in shown:
        made.add_column(
            each.column.head,
            justify="right" if each.column.right else "left",
            no_wrap=not each.column.is_long,
            overflow="fold" if each.column.is_long else "ellipsis",
            max_width=max(rest, _MIN_TEXT_WIDTH) if each.column.is_long else None,
        )
    for line in zip(*(each.texts for each in shown), strict=True):
        made.add_row(*line)
    return made


class _Cells(NamedTuple, Generic[Row]):
    """A column with its cells."""

    column: TableColumn[Row]
    texts: list[Text]

    @property
    def width(self) -> int:
        widest = max(len(self.column.head), *(text.cell_len for text in self.texts)) + GAP
        return min(widest, _MIN_TEXT_WIDTH) if self.column.is_long else widest


def _fitting(cells: list[_Cells[Row]], width: int) -> list[_Cells[Row]]:
    """Return the columns that fit."""
    shown = list(cells)
    while sum(each.width for each in shown) - GAP > width:
        least = max(shown, key=lambda each: each.column.rank)
        if not least.column.rank:
            break
        shown.remove(least)
    return shown
