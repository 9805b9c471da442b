"""Text for people: what others wrote does no harm, and a value has one form wherever it is shown."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis.strategies import text

from pipeline.text import (
    byte_size,
    count,
    decimal,
    duration,
    local_clock,
    percent,
    rate,
    readable,
    utc_time,
    visible,
    visible_json,
    visible_line,
)


def test_no_control_character_reaches_the_terminal() -> None:
    raw = "".join(map(chr, range(0xA0)))
    shown = visible(raw)
    assert {char for char in shown if ord(char) < 32 or 0x7F <= ord(char) < 0xA0} == {"\n", "\t"}
    assert "\n" not in visible_line(raw)
    assert len(visible_line(raw)) == len(raw)


TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_nothing_turns_text_around_or_ends_a_line_unseen() -> None:
    assert visible(f"a{TURNING}\u2028\u2029b") == f"a{chr(0xFFFD) * 11}b"
    assert visible("\u05e9\u05dc\u05d5\u05dd \u200f\u0645 \U0001f468\u200d\U0001f469") == (
        "\u05e9\u05dc\u05d5\u05dd \u200f\u0645 \U0001f468\u200d\U0001f469"
    )


@given(text())
def test_json_keeps_its_meaning_and_drives_no_terminal(value: str) -> None:
    shown = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not [char for char in shown if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in TURNING]


def test_a_cell_is_one_line_of_bounded_length_without_what_turns_text_around() -> None:
    assert readable("a\n\tb\x07\ud800\u202e" + "c" * 400).startswith("a b\u2407\ufffd\ufffdcc")
    assert len(readable("c" * 400)) == 300
    assert readable("c" * 400, 5) == "cccc…"
    assert readable(7) == "7"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.043, "43 ms"),
        (0.999, "999 ms"),
        (1.25, "1.2 s"),
        (1.5, "1.5 s"),
        (45, "45 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (600, "10 min"),
        (7_500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_the_units_that_suit_them(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_numbers_are_rounded_late() -> None:
    assert [count(value) for value in (None, 0, 9_999_999, 12_345_678, 4_560_000_000)] == [
        *("-", "0", "9,999,999", "12.3 M", "4.56 G")
    ]
    assert [rate(value) for value in (None, 0.0, 0.004, 3.24, 1_500.4)] == ["-", "0", "<0.1", "3.2", "1,500"]
    assert [decimal(value) for value in (None, 2, 1_234.56789)] == ["-", "2", "1,234.568"]
    assert [byte_size(value) for value in (None, 10, 5 << 10, 300 << 20, 3 << 30)] == [
        *("-", "10 B", "5.0 KiB", "300 MiB", "3.0 GiB")
    ]


def test_a_hundred_percent_means_all() -> None:
    assert [percent(*pair) for pair in ((0, 0), (1, 3), (99_999, 100_000), (5, 5))] == [
        *("-", "33.33 %", "> 99.99 %", "100 %")
    ]
    assert [percent(share) for share in (None, 1.0, 0.99996, 0.5)] == ["-", "100 %", "> 99.99 %", "50 %"]


def test_times_are_shown_to_the_second_and_beyond_all_calendars_as_a_number() -> None:
    assert utc_time(1_769_860_800_000) == "2026-01-31 12:00:00"
    assert utc_time(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31 12:00:00"
    assert utc_time(2**62) == str(2**62)
    assert utc_time(None) == "-"
    assert local_clock(None) == "-"
