"""The live screen: asks round by round on a thread of its own, and shows the latest figures.

Owns keys, views and layout; what is in a panel is `drawing`'s. Runs in the main thread until the user leaves.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Footer, Static
from textual.worker import Worker, WorkerState

from pipeline.text import local_clock
from pipeline.tools.top import drawing
from pipeline.tools.top.board import Board
from pipeline.tools.top.charts import area
from pipeline.tools.top.figures import Figures
from pipeline.tools.top.layout import CSS, Body, Help, Panel
from pipeline.tools.top.sampling import Round

View = Literal["all", "partitions", "members", "outcomes", "steps"]

INTERVALS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between two rounds, as + and - choose them."""

ROUND_TIMEOUT_S: Final = 1.0
"""How long a round waits for answers; a later answer is shown with the next round."""

MIN_WIDE_SIZE: Final = (118, 36)
"""Columns and lines of a terminal that has room for all panels at once."""

_VIEWS: Final[tuple[View, ...]] = ("all", "partitions", "members", "outcomes", "steps")
_PANELS: Final[dict[View, tuple[str, ...]]] = {
    "all": ("members", "partitions", "outcomes", "troubles", "steps"),
    "partitions": ("partitions",),
    "members": ("members",),
    "outcomes": ("outcomes", "troubles"),
    "steps": ("steps",),
}
_SPEED: Final = ("#2f6f9f", "#7fd6ff")
_LAG: Final = ("#8a6a2f", "#ffd479")
_THEME: Final = Theme(
    name="runstep",
    primary="#63c7f2",
    accent="#63c7f2",
    foreground="#d8dee9",
    background="#10141b",
    surface="#10141b",
    panel="#171d27",
    dark=True,
)


class Top(App[Exception]):
    """The screen; `run` returns the error that ended it, None when the user left.

    Attributes:
        figures: what is shown.
        view: which panels.
        order: of the partitions.
        interval: seconds between two rounds.
    """

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    TITLE = "runstep top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("p,space", "pause", "pause"),
        Binding("s", "sort", "sort"),
        # Textual uses the key to move the focus.
        Binding("tab", "turn(1)", "next view", priority=True),
        Binding("shift+tab", "turn(-1)", show=False, priority=True),
        *(Binding(str(number), f"view({name!r})", show=False) for number, name in enumerate(_VIEWS)),
        Binding("plus,equals_sign", "faster", "faster", key_display="+"),
        Binding("minus,underscore", "slower", "slower", key_display="-"),
        Binding("question_mark,h", "help", "help", key_display="?"),
    ]

    def __init__(self, sample: Callable[[float], Round], board: Board, interval: float) -> None:
        """Prepare the screen.

        Args:
            sample: asks all daemons, within so many seconds; called by a thread.
            board: makes figures of the answers.
            interval: seconds between two rounds, at first.
        """
        super().__init__()
        self.figures: Figures | None = None
        self.view: View = "all"
        self.order: drawing.Order = drawing.ORDERS[0]
        self.interval = interval
        self.paused = False
        self._sample = sample
        self._board = board
        self._timer: Timer | None = None
        self._began = 0.0

    def compose(self) -> ComposeResult:
        """Make the panels."""
        with Body():
            yield Static(Text("○ waiting for answers", drawing.WARNING), id="head")
            with Horizontal(id="charts"):
                yield Static(id="speed", classes="chart")
                yield Static(id="lag", classes="chart")
            yield Panel("members", "members")
            with Horizontal(id="lower"):
                with Vertical(id="left"):
                    yield Panel("partitions", "partitions")
                    yield Panel("steps", "steps")
                with Vertical(id="right"):
                    yield Panel("outcomes", "records by outcome")
                    yield Panel("troubles", "errors by class")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        # Without this, SIGTERM would leave the terminal in its raw mode.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self.register_theme(_THEME)
        self.theme = _THEME.name
        self._arrange()
        self._ask()

    def on_body_resized(self) -> None:
        """Fit the new size."""
        self._rearrange()

    def _ask(self) -> None:
        self._began = time.monotonic()
        self._timer = None
        self.run_worker(self._round, thread=True, exit_on_error=False, name="round")

    def _round(self) -> Figures:
        found = self._sample(min(self.interval, ROUND_TIMEOUT_S))
        return self._board.update(found, time.monotonic(), time.time())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show the figures of a round, and plan the next."""
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self.exit(error if isinstance(error, Exception) else RuntimeError(str(error)))
        elif event.state is WorkerState.SUCCESS:
            if not self.paused:
                self.figures = event.worker.result
                self._draw()
            self._plan()

    def _plan(self) -> None:
        passed = time.monotonic() - self._began
        self._timer = self.set_timer(max(self.interval - passed, 0.05), self._ask)

    @property
    def is_wide(self) -> bool:
        """Whether there is room for all panels at once."""
        return self.size.width >= MIN_WIDE_SIZE[0] and self.size.height >= MIN_WIDE_SIZE[1]

    @property
    def shown_view(self) -> View:
        """The view that is shown; a small screen shows the partitions instead of everything."""
        return "partitions" if self.view == "all" and not self.is_wide else self.view

    def _arrange(self) -> None:
        """Show the panels of the view, and share the room among them."""
        panels = _PANELS[self.shown_view]
        for panel in self.query(Panel):
            panel.display = panel.id in panels
        for part in ("#left", "#right", "#lower"):
            around = self.query_one(part)
            around.display = any(panel.display for panel in around.query(Panel))
        self.set_class(self.shown_view == "all", "-all")
        self.set_class(self.size.height < MIN_WIDE_SIZE[1], "-low")

    def _draw(self) -> None:
        if self.figures is None:
            return
        try:
            self._show(self.figures)
        except Exception as error:  # noqa: BLE001 - left to the library, it would be a stack on the user's terminal
            self.exit(error)

    def _show(self, figures: Figures) -> None:
        self._draw_head(figures)
        self._draw_charts(figures)
        draw = self._panels(figures)
        for panel in self.query(Panel):
            if panel.display:
                panel.draw(draw[str(panel.id)])
        members = sum(member.worker is None for member in figures.members)
        self.query_one("#members").border_title = f"members {members}"
        self.query_one("#partitions").border_title = f"partitions {len(figures.partitions)}, by {self.order}"

    def _panels(self, figures: Figures) -> dict[str, Callable[[int], Any]]:
        return {
            "members": lambda width: drawing.members_table(figures, width),
            "partitions": lambda width: drawing.partitions_table(figures, width, self.order),
            "outcomes": lambda width: drawing.outcomes_table(figures, width),
            "troubles": lambda width: drawing.troubles_table(figures, width),
            "steps": lambda width: drawing.steps_and_failures(figures, width),
        }

    def _draw_head(self, figures: Figures) -> None:
        head = self.query_one("#head", Static)
        text = drawing.headline(figures, head.size.width)
        paused = "paused  " if self.paused else ""
        now = f"{paused}{local_clock(figures.at)}  every {self.interval:g} s"
        first, *rest = text.split("\n")
        first.truncate(max(head.size.width - len(now) - 4, 1), overflow="ellipsis", pad=True)
        first.append("  ").append(now, style=drawing.WARNING if self.paused else drawing.QUIET)
        head.update(Text("\n").join([first, *rest]))

    def _draw_charts(self, figures: Figures) -> None:
        charts = (
            ("speed", drawing.speed_line, figures.speeds, _SPEED),
            ("lag", drawing.lag_line, figures.lags, _LAG),
        )
        for name, line, values, colours in charts:
            chart = self.query_one(f"#{name}", Static)
            width, height = chart.content_size
            picture = area(values, width, max(height - 1, 1), colours)
            chart.update(Text("\n").join([line(figures, width), picture]))

    def _rearrange(self) -> None:
        self._arrange()
        self.call_after_refresh(self._draw)

    def action_pause(self) -> None:
        """Pause or resume: paused, the screen keeps what it shows."""
        self.paused = not self.paused
        self._draw()

    def action_sort(self) -> None:
        """Choose the next order of the partitions."""
        self.order = drawing.ORDERS[(drawing.ORDERS.index(self.order) + 1) % len(drawing.ORDERS)]
        self._draw()

    def action_view(self, view: View) -> None:
        """Show a view."""
        self.view = view
        self._rearrange()

    def action_turn(self, by: int) -> None:
        """Show the next view, or the one before."""
        views = _VIEWS if self.is_wide else _VIEWS[1:]
        self.view = views[(views.index(self.shown_view) + by) % len(views)]
        self._rearrange()

    def action_faster(self) -> None:
        """Ask more often."""
        self._pace(max((value for value in INTERVALS_S if value < self.interval), default=self.interval))

    def action_slower(self) -> None:
        """Ask less often."""
        self._pace(min((value for value in INTERVALS_S if value > self.interval), default=self.interval))

    def _pace(self, interval: float) -> None:
        self.interval = interval
        if self._timer is not None:
            self._timer.stop()
            self._plan()
        self._draw()

    def action_help(self) -> None:
        """Show the page about keys and columns."""
        self.push_screen(Help())
