"""What the live screen is made of: its panels, the page behind `?`, and how they look (Textual's CSS)."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

CSS: Final = """
Screen { background: $background; }
#head { height: auto; padding: 0 1; }
#charts { height: 9; }
.-low #charts { height: 6; }
.chart { width: 1fr; height: 100%; border: round #33405a; padding: 0 1; }
Panel {
    border: round #33405a;
    border-title-color: #9fb3cc;
    padding: 0 1;
    height: 1fr;
    scrollbar-size-vertical: 1;
    scrollbar-color: #33405a;
    scrollbar-background: $background;
}
Panel Static { height: auto; }
#lower { height: 1fr; }
#left { width: 1fr; }
#right { width: 1fr; }
.-low #troubles { height: auto; max-height: 50%; }
.-all #members { height: auto; max-height: 30%; }
.-all #left { width: 3fr; }
.-all #right { width: 2fr; }
.-all #partitions { height: auto; max-height: 60%; }
.-all #troubles { height: auto; max-height: 50%; }
Footer { background: #171d27; }
Help { align: center middle; }
Help > VerticalScroll {
    width: 76; height: auto; max-height: 100%; border: round $accent; background: #171d27; padding: 0 2;
}
Help Static { height: auto; }
"""


_HELP: Final = (
    ("q", "quit"),
    ("p, space", "pause or resume the display; `top` counts on meanwhile"),
    ("s", "sort the partitions by lag, rate or name"),
    ("tab, 0-4", "views: all (0, on a large screen), partitions, members, outcomes, steps"),
    ("+ -", "ask more or less often"),
    ("", ""),
    ("rates", "over the last 10 s; steps and insert times over the last minute"),
    ("lag", "records in Kafka that the daemon has not read yet"),
    ("age", "age of the last record that was read; · when there are no more"),
    ("to the table", "time from Kafka to a stored row, for 95 % of the records"),
    ("away", "the member does not answer; its partitions show the last known numbers"),
    ("gone", "no member that is shown owns the partition any more"),
    ("lost", "offsets that Kafka deleted before they were read"),
    ("total", "since the members began; a restart does not reset it"),
    ("seen", "time of the last error; `before`: before this screen began"),
)


class Panel(VerticalScroll, can_focus=False):
    """A titled box that scrolls, with one drawing in it."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__(id=name)
        self.border_title = title

    def compose(self) -> ComposeResult:
        """Make the place for the drawing."""
        yield Static()

    def draw(self, make: Callable[[int], Any]) -> None:
        """Show what is made for a width in columns."""
        self.query_one(Static).update(make(self.scrollable_content_region.width or self.size.width))


class Body(Vertical):
    """Everything above the footer; notifies the screen after a resize, once its own size is the new one."""

    class Resized(Message):
        """The body has its new size."""

    def on_resize(self) -> None:
        """Notify the screen."""
        self.post_message(self.Resized())


class Help(ModalScreen[None]):
    """Any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,h,enter,space", "dismiss", "back")]

    def compose(self) -> ComposeResult:
        """Make the page."""
        table = Table.grid(padding=(0, 2))
        for key, meaning in _HELP:
            table.add_row(key, meaning)
        with VerticalScroll() as page:
            page.border_title = "runstep top"
            page.border_subtitle = "esc closes"
            yield Static(table)
