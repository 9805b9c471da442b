"""The page behind `?`: the keys, and what is not plain of the columns."""

from typing import ClassVar, Final

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_LINES: Final = (
    ("q", "quit"),
    ("p, space", "pause: keep what is shown, while it goes on counting"),
    ("s", "sort the partitions by lag, rate or name"),
    ("tab, 0-4", "views: all (0, on a large screen), partitions, members, outcomes, steps"),
    ("+ -", "ask more or less often"),
    ("", ""),
    ("rates", "over the last 10 s; steps and insert times over the last minute"),
    ("lag", "records that Kafka holds behind our position"),
    ("age", "how old the last record that was read is, where there are more"),
    ("to the table", "95 % of the records could be queried so soon after Kafka had them"),
    ("away", "the member does not answer; its partitions are shown as they were"),
    ("gone", "no member that is shown has the partition any more"),
    ("lost", "offsets that Kafka had dropped before they were read"),
    ("total", "since the members began; what was counted before a restart is kept"),
    ("seen", "when the error came last; `before` this screen was there"),
)


class Help(ModalScreen[None]):
    """Any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,h,enter,space", "dismiss", "back")]

    def compose(self) -> ComposeResult:
        """Make the page."""
        table = Table.grid(padding=(0, 2))
        for key, meaning in _LINES:
            table.add_row(key, meaning)
        with VerticalScroll() as page:
            page.border_title = "runstep top"
            page.border_subtitle = "esc closes"
            yield Static(table)
