"""How `runstep dlq` shows dead letters: whatever is in them, a terminal takes it as text."""

from collections import Counter

import pytest

from pipeline.commands import _dlq_output as view
from pipeline.records import Reason, Stage, Unstored
from pipeline.text import visible_line
from pipeline.tools.dlq import Decision, ReplayOutcome, ReplayResult
from pipeline.tools.dlq.transactions import Outgoing
from tests.support.dead_letter_topic import DEAD_LETTERS, ORIGIN, Log


@pytest.fixture
def log() -> Log:
    return Log({ORIGIN: 2, DEAD_LETTERS: 2})


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
    dead_letter = next(iter(log.dead_letter_topic().dead_letters.values()))
    returned = Outgoing(topic, None, None, None, [])
    decisions = [
        (Decision(dead_letter, None, f"there is no topic {topic}", ()), None),
        (Decision(dead_letter, ReplayOutcome.REPLAYED, "", [returned]), Unstored(Reason.TOO_DEEP, Stage.DECODE, topic)),
    ]
    view.console().print(view.decision_table(decisions, log.dead_letter_topic()))
    view.console().print(view.dead_letter_table([dead_letter], log.dead_letter_topic()))
    shown = capsys.readouterr().out
    assert f"stays open: there is no topic {visible_line(topic)} " in shown
    assert f"rejected again: too_deep: {visible_line(topic)} " in shown
    assert shown.count("\x1b") == 0
    assert "\n" not in view.failure_line(dead_letter, f"there is no topic {topic}")


def test_the_summary_has_a_line_for_whatever_happened() -> None:
    result = ReplayResult(exhausted=1, closed=1_000)
    result.done |= {ReplayOutcome.REPLAYED: 1, ReplayOutcome.REQUEUED: 2, ReplayOutcome.DROPPED: 3}
    lines = view.summary(result, dry=False)
    assert lines[0] == "replayed 1 dead letter"
    assert [line.split()[0] for line in lines[1:]] == ["2", "3", "1", "1,000"]
    assert view.summary(ReplayResult(), dry=True) == ["would replay 0 dead letters"]
    (_, skipped) = view.summary(ReplayResult(elsewhere=Counter({"pay\x1bments": 2})), dry=True)
    assert skipped == (
        "2 dead letters skipped: from topics outside kafka.topics (pay\u241bments 2); --any-topic replays them, too"
    )
