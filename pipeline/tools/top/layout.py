"""What the screen is made of: panels, where they are, and how they look (Textual's CSS)."""

from collections.abc import Callable
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
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
    """Everything above the footer; tells the screen when its size is another: the screen hears of it too early."""

    class Resized(Message):
        """It has its new size."""

    def on_resize(self) -> None:
        """Tell."""
        self.post_message(self.Resized())
