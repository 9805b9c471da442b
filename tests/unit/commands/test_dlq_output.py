"""How `runstep dlq` shows dead letters: whatever is in them, a terminal takes it as text."""

import pytest

from pipeline.commands import _dlq_output as view
from pipeline.text import visible, visible_line
from pipeline.tools.dlq import Decision, Outcome, Report
from tests.support.dead_letter_topic import LETTERS, ORIGIN, Log


@pytest.fixture
def log() -> Log:
    return Log({ORIGIN: 2, LETTERS: 2})


def test_no_control_character_reaches_the_terminal() -> None:
    raw = "".join(map(chr, range(0xA0)))
    shown = visible(raw)
    assert {char for char in shown if ord(char) < 32 or 0x7F <= ord(char) < 0xA0} == {"\n", "\t"}
    assert "\n" not in visible_line(raw)
    assert len(visible_line(raw)) == len(raw)


def test_bytes_are_shown_redacted_and_whole() -> None:
    key = "sk-proj-" + "A1b2C3d4" * 6
    assert view.text_of(None) == "null"
    assert view.text_of(b"a\nb\xff") == "a\nb\\xff"
    assert view.line_of(b"a\nb") == "a\u240ab"
    assert key not in view.text_of(f'{{"key": "{key}"}}'.encode())


@pytest.mark.parametrize("topic", ["x[/bold]", "[red]x", "\x1b[2J", "a\nb"])
def test_what_a_dead_letter_says_of_its_topic_is_no_markup(
    log: Log, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.dead_letter(0, topic=topic)
    dead_letter = next(iter(log.book().dead_letters.values()))
    view.console().print(view.decision_table([Decision(dead_letter, None, f"there is no topic {topic}", ())]))
    view.console().print(view.dead_letter_table([dead_letter], log.book()))
    shown = capsys.readouterr().out
    assert f"left: there is no topic {visible_line(topic)} " in shown
    assert shown.count("\x1b") == 0
    assert "\n" not in view.failure_line(dead_letter, f"there is no topic {topic}")


def test_a_time_beyond_all_calendars_is_shown_as_a_number() -> None:
    assert view.instant(1_769_860_800_000) == "2026-01-31 12:00:00"
    assert view.instant(2**62) == str(2**62)


def test_the_summary_has_a_line_for_whatever_happened() -> None:
    report = Report(exhausted=1, closed=1_000)
    report.done |= {Outcome.REPLAYED: 1, Outcome.REQUEUED: 2, Outcome.DROPPED: 3}
    lines = view.summary(report, dry=False)
    assert lines[0] == "replayed 1 dead letter"
    assert [line.split()[0] for line in lines[1:]] == ["2", "3", "1", "1,000"]
    assert view.summary(Report(), dry=True) == ["would replay 0 dead letters"]
