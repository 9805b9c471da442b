"""The live screen, driven by keys without a terminal: views, order, pause, pace, help, sizes, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeAlias

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from pipeline.tools.top.board import Board
from pipeline.tools.top.layout import Help, Panel
from pipeline.tools.top.sampling import Round
from pipeline.tools.top.screen import Top
from tests.support.top_rig import FIRST, SECOND, daemon, silent

Drive: TypeAlias = Callable[[Top, Pilot[Exception]], Awaitable[None]]
SMALL, LARGE = (80, 24), (160, 44)
PLACES = {f"steps/{number}": (5_000, 4_000, 30 * number) for number in range(12)}


def rounds() -> Callable[[float], Round]:
    """Return what makes rounds: a daemon that makes progress, beside one that is away."""
    numbers = count()

    def sample(_patience: float) -> Round:
        at = next(numbers) * 2.0
        answers: dict[str, Any] = {"last_error": {"transient": "refused"}, "causes": ["[b]no[/b] table"]}
        return Round([daemon(at, records=500 * at, partitions=PLACES, **answers), silent(at)], [FIRST, SECOND], "")

    return sample


def drive(drive: Drive, size: tuple[int, int] = LARGE, sample: Callable[[float], Round] | None = None) -> Top:
    """Run the screen while it is driven, and return it as it ended."""
    app = Top(sample or rounds(), Board("steps"), 60.0)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await looked(app)
            await pilot.pause()
            await drive(app, pilot)

    asyncio.run(run())
    return app


async def looked(app: Top) -> None:
    """Wait for what is asked for now."""
    await app.workers.wait_for_complete()


def text_of(app: Top, name: str) -> str:
    """Return the text in a place of the screen."""
    strips = app.query_one(f"#{name}").query_one(Static) if name in panels(app) else app.query_one(f"#{name}", Static)
    return "\n".join("".join(segment.text for segment in strip) for strip in strips.render_lines(strips.size.region))


def panels(app: App[Exception]) -> set[str]:
    return {str(panel.id) for panel in app.query(Panel) if panel.display}


def test_a_large_screen_shows_everything_at_once() -> None:
    async def look(app: Top, _: Pilot[Exception]) -> None:
        assert panels(app) == {"members", "partitions", "outcomes", "troubles", "steps"}
        assert "problems   1 of 2 members answers   group steps" in text_of(app, "head")
        assert "[b]no[/b] table" in text_of(app, "head")
        assert "330" in text_of(app, "partitions")
        assert "refused" in text_of(app, "troubles")
        assert "away" in text_of(app, "members")

    drive(look)


def test_a_small_screen_shows_one_view_at_a_time() -> None:
    async def turn(app: Top, pilot: Pilot[Exception]) -> None:
        seen = [panels(app)]
        for _ in range(4):
            await pilot.press("tab")
            seen.append(panels(app))
        assert seen == [{"partitions"}, {"members"}, {"outcomes", "troubles"}, {"steps"}, {"partitions"}]
        await pilot.press("shift+tab")
        assert panels(app) == {"steps"}
        await pilot.press("2")
        assert panels(app) == {"members"}
        assert "one:9464" in text_of(app, "members")
        assert app.query_one("#members").region.bottom < SMALL[1]

    drive(turn, SMALL)


def test_the_layout_follows_the_size() -> None:
    async def resize(app: Top, pilot: Pilot[Exception]) -> None:
        await pilot.resize_terminal(*LARGE)
        await pilot.pause()
        assert len(panels(app)) == 5
        await pilot.press("3")
        assert panels(app) == {"outcomes", "troubles"}
        await pilot.press("0")
        assert len(panels(app)) == 5
        await pilot.resize_terminal(20, 5)
        await pilot.pause()
        assert panels(app) == {"partitions"}

    drive(resize, SMALL)


def test_partitions_are_sorted_by_key() -> None:
    async def sort(app: Top, pilot: Pilot[Exception]) -> None:
        first = []
        for _ in range(3):
            first.append(text_of(app, "partitions").splitlines()[1].split()[0])
            await pilot.press("s")
            await pilot.pause()
        assert first == ["steps/11", "steps/0", "steps/0"]
        assert "by lag" in str(app.query_one("#partitions").border_title)

    drive(sort, SMALL)


def test_a_pause_keeps_the_picture_and_goes_on_counting() -> None:
    async def pause(app: Top, pilot: Pilot[Exception]) -> None:
        kept = app.figures
        await pilot.press("p")
        assert "paused" in text_of(app, "head")
        app._ask()
        await looked(app)
        await pilot.pause()
        assert app.figures is kept
        await pilot.press("space")
        app._ask()
        await looked(app)
        await pilot.pause()
        assert app.figures is not None
        assert app.figures is not kept
        assert app.figures.records == pytest.approx(500.0)
        assert len(app.figures.speeds) == 2

    drive(pause, SMALL)


def test_the_interval_follows_the_keys_within_bounds() -> None:
    async def press(app: Top, pilot: Pilot[Exception]) -> None:
        await pilot.press("plus")
        assert app.interval == 30.0
        await pilot.press("minus", "minus")
        assert app.interval == 60.0
        assert "every 60 s" in text_of(app, "head")

    drive(press, SMALL)


def test_help_comes_and_goes() -> None:
    async def ask(app: Top, pilot: Pilot[Exception]) -> None:
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        await pilot.press("escape")
        assert not isinstance(app.screen, Help)

    drive(ask, SMALL)


def test_q_ends_it() -> None:
    async def leave(_: Top, pilot: Pilot[Exception]) -> None:
        await pilot.press("q")

    app = drive(leave, SMALL)
    assert (app.return_code, app.return_value) == (0, None)


def test_a_fault_ends_it_and_is_returned_not_shown() -> None:
    fault = RuntimeError("no")

    def fail(_: float) -> Round:
        raise fault

    app = Top(fail, Board(), 60.0)

    async def run() -> None:
        async with app.run_test() as pilot:
            await pilot.pause()

    asyncio.run(run())
    assert app.return_value is fault


def test_so_does_a_fault_of_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = RuntimeError("no")

    def fail(*_: object) -> None:
        raise fault

    async def nothing(_: Top, __: Pilot[Exception]) -> None:
        pass

    monkeypatch.setattr("pipeline.tools.top.drawing.members_table", fail)
    assert drive(nothing).return_value is fault


def test_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(app: Top, _: Pilot[Exception]) -> None:
        assert app.no_color
        assert "problems" in text_of(app, "head")

    drive(look, SMALL)
