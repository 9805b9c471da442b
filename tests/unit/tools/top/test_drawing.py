"""How figures look: at every width, without harm from what others wrote, and in words that fit."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from pipeline.tools.top import drawing
from pipeline.tools.top.board import Board
from pipeline.tools.top.charts import area, scale, sparkline
from tests.support.top_rig import FIRST, WALL, daemon, shown, silent, stuck

DRAWINGS = (
    drawing.headline,
    drawing.speed_line,
    drawing.lag_line,
    drawing.partitions_table,
    drawing.members_table,
    drawing.outcomes_table,
    drawing.troubles_table,
    drawing.steps_table,
    drawing.failures_table,
)


def printed(drawn: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    console.print(drawn)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_nothing_is_wider_than_its_place_and_nothing_that_others_wrote_acts(draw: Callable[..., Any]) -> None:
    figures = stuck()
    for width in (30, 78, 100, 160, 250):
        text = printed(draw(figures, width), width)
        assert max(map(len, text.splitlines())) <= width
        assert not any(ord(character) < 32 for character in text.replace("\n", ""))


def test_what_matters_is_said_in_words_not_by_colour_alone() -> None:
    figures = stuck()
    head = printed(drawing.headline(figures, 120), 120)
    assert "problems   1 of 2 members answers   group steps   topic steps" in head
    assert "one:9464: [bold]no[/bold] ␛[2J table" in head
    assert "two:9464: away for 2 s: connection refused" in head
    members = printed(drawing.members_table(figures, 200), 200)
    for words in ("one:9464", "waiting", "closed", "two:9464", "away", "1.2.3"):
        assert words in members
    records = printed(drawing.outcomes_table(figures, 80), 80)
    first = [line.split()[0] for line in records.splitlines()]
    assert first == ["outcome", "stored", "dead_lettered", "invalid_json", "too_deep", "ignored", "delta", "lost"]
    assert next(line for line in records.splitlines() if line.startswith("dead_lettered")).split() == [
        "dead_lettered",
        "0",
        "42",
    ]
    assert "[red]refused ␛]0;owned" in printed(drawing.troubles_table(figures, 120), 120)


def test_partitions_are_in_the_order_that_was_asked_for_and_halted_ones_first_by_lag() -> None:
    figures = stuck()

    def names(order: drawing.Order) -> list[str]:
        lines = printed(drawing.partitions_table(figures, 160, order), 160).splitlines()
        return [line.split()[0] for line in lines[1:]]

    assert names("lag")[:3] == ["steps/1", "steps/11", "steps/10"]
    assert names("name")[:3] == ["steps/0", "steps/1", "steps/2"]
    assert "halted: no codec" in printed(drawing.partitions_table(figures, 160), 160)


def test_a_narrow_table_leaves_out_what_matters_less() -> None:
    figures = stuck()
    wide, narrow = (printed(drawing.partitions_table(figures, width), width).splitlines()[0] for width in (140, 60))
    assert wide.split() == ["partition", "member", "position", "committed", "lag", "trend", "rec/s", "age", "state"]
    assert "committed" not in narrow
    assert {"partition", "member", "lag", "state"} <= set(narrow.split())


def test_a_clock_that_goes_ahead_of_ours_makes_no_negative_time() -> None:
    figures = shown(Board(), 0.0, daemon(0.0, born=WALL + 5), expected=[FIRST])
    assert " 0 ms " in printed(drawing.members_table(figures, 250), 250)


def test_what_is_all_well_caught_up_or_unknown() -> None:
    board = Board()
    assert "waiting for answers" in printed(
        drawing.headline(shown(board, 0.0, daemon(0.0), expected=["one:9464"]), 80), 80
    )
    figures = shown(board, 2.0, daemon(2.0, partitions={"steps/0": (5, 5, 0)}), expected=["one:9464"])
    figures = shown(board, 4.0, daemon(4.0, partitions={"steps/0": (5, 5, 0)}), expected=["one:9464"])
    assert printed(drawing.headline(figures, 80), 80).startswith("● all well   1 member ")
    assert "caught up" in printed(drawing.lag_line(figures, 80), 80)
    no_daemon = shown(Board(), 0.0, expected=[])
    assert "no daemon to ask" in printed(drawing.headline(no_daemon, 80), 80)
    dead = shown(Board(), 0.0, silent(0.0), expected=["two:9464"])
    assert "no partition yet" in printed(drawing.partitions_table(dead, 80), 80)


def test_a_sparkline_keeps_the_peaks() -> None:
    assert sparkline([0, 0, 0, 0], 4) == "▁▁▁▁"
    assert sparkline([0, 4, 8], 10) == "▁▄▇"
    assert sparkline([1.0] * 50 + [8.0] + [1.0] * 49, 10) == "▁▁▁▁▁▇▁▁▁▁"
    assert sparkline([], 10) == ""


def test_an_area_has_its_scale_and_the_newest_value_at_the_right() -> None:
    lines = area([50.0, 100.0], 12, 2, ("#000000", "#ffffff")).plain.splitlines()
    assert lines == ["100 ▏      █", "  0 ▏     ██"]
    assert [scale(value) for value in (0.3, 7, 99, 101, 1_900, 60_000)] == [1, 10, 100, 200, 2_000, 100_000]
    assert len(area([1.0] * 900, 40, 3, ("#000000", "#ffffff")).plain.splitlines()[0]) == 40
