"""How `runstep dlq` shows dead letters: text from producers is redacted and has no control characters."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline.records import Unstored
from pipeline.redaction import redact
from pipeline.text import utc_time, visible, visible_line
from pipeline.tools.dlq import DeadLetter, DeadLetterTopic, Decision, ReplayOutcome, ReplayResult

MAX_SHOWN: Final = 100
"""Dead letters that a table shows without --limit; --json has no limit."""
_OPEN: Final = "open"


def console() -> Console:
    """Return the console for tables; wide where the output is no terminal, so that nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else 400, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, nothing elsewhere; yields a function of the number that is done, and of all."""
    shown = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def read(topic: DeadLetterTopic) -> None:
    """Read what is new in the topic, with a bar."""
    with progress(f"reading {topic.name}") as show:
        topic.read_new(show)


def as_json_object(dead_letter: DeadLetter, topic: DeadLetterTopic) -> dict[str, Any]:
    """Return a dead letter for `--json`; times in milliseconds since the epoch."""
    return {
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "reason": dead_letter.reason,
        "stage": dead_letter.stage,
        "origin": dead_letter.identity._asdict(),
        "dead_lettered": dead_letter.timestamp,
        "bytes": dead_letter.size,
        "truncated": bool(dead_letter.sha256),
        "attempt": topic.attempt(dead_letter.identity),
        "state": topic.outcomes.get(dead_letter.identity, _OPEN),
    }


def dead_letter_table(dead_letters: Sequence[DeadLetter], topic: DeadLetterTopic) -> Table:
    """Return the dead letters as a table."""
    shown = _headed("state")
    for dead_letter in dead_letters:
        state = topic.outcomes.get(dead_letter.identity, _OPEN)
        shown.add_row(*_cells(dead_letter, topic.attempt(dead_letter.identity)), state)
    return shown


def decision_table(decisions: Iterable[tuple[Decision, Unstored | None]], topic: DeadLetterTopic) -> Table:
    """Return the decisions of a dry run as a table, each with why the daemon would reject the record again."""
    shown = _headed("to", "would be", "then")
    for decision, rejected in decisions:
        dead_letter, returned = decision.dead_letter, decision.returned
        verdict, cause = decision.outcome or "stays open", _line(decision.cause)
        then = "" if rejected is None else f"rejected again: {rejected.reason}: {_line(rejected.detail)}"
        # As Text, since the topic in a dead letter may look like markup.
        shown.add_row(
            *_cells(dead_letter, topic.attempt(dead_letter.identity)),
            Text("" if returned is None else _line(returned.topic)),
            Text(f"{verdict}: {cause}" if cause else str(verdict)),
            Text(then),
        )
    return shown


def by_reason(dead_letters: Iterable[DeadLetter]) -> str:
    """Return the number of dead letters by reason, as one line."""
    return numbers(Counter(dead_letter.reason for dead_letter in dead_letters))


def numbers(counts: Counter[str]) -> str:
    """Return a number for each text, the largest first, as one line."""
    return ", ".join(f"{_line(text)} {number:,}" for text, number in counts.most_common())


def summary(result: ReplayResult, *, dry: bool) -> list[str]:
    """Return the numbers of a replay, a line each."""
    done = result.done
    lines = [f"{'would replay' if dry else 'replayed'} {_dead_letters(done[ReplayOutcome.REPLAYED])}"]
    if done[ReplayOutcome.REQUEUED]:
        lines.append(
            f"{_dead_letters(done[ReplayOutcome.REQUEUED])} cannot be replayed: requeued at the end of the topic"
        )
    if done[ReplayOutcome.DROPPED]:
        lines.append(f"{_dead_letters(done[ReplayOutcome.DROPPED])} cannot be replayed: dropped")
    if result.exhausted:
        lines.append(f"{_dead_letters(result.exhausted)} skipped: rejected --max-attempts times or more")
    if result.closed:
        lines.append(f"{_dead_letters(result.closed)} skipped: replayed, requeued or dropped before")
    if result.elsewhere:
        lines.append(
            f"{_dead_letters(result.elsewhere.total())} skipped: from topics outside kafka.topics "
            f"({numbers(result.elsewhere)}); --any-topic replays them, too"
        )
    return lines


def failure_line(dead_letter: DeadLetter, cause: str) -> str:
    """Return the sentence about a dead letter that cannot be replayed."""
    origin = dead_letter.identity
    where = f"{visible_line(origin.topic)}/{origin.partition}:{origin.offset}"
    place = f"{dead_letter.partition}:{dead_letter.offset}"
    return f"dead letter {place}, of {where}, cannot be replayed: {_line(cause)}"


def text_of(value: bytes | None) -> str:
    """Return bytes as text for a terminal: redacted, and without control characters."""
    return "null" if value is None else visible(redact(value.decode("utf-8", "backslashreplace")))


def line_of(value: bytes | None) -> str:
    """Return bytes as `text_of` does, on one line."""
    return visible_line(text_of(value))


def _line(text: str) -> str:
    return visible_line(redact(text))


def _headed(*last: str) -> Table:
    shown = Table()
    for name in ("dead letter", "reason", "stage", "origin", "record time", "dead-lettered"):
        shown.add_column(name)
    shown.add_column("attempt", justify="right")
    shown.add_column("bytes", justify="right")
    shown.add_column("cut")
    for name in last:
        shown.add_column(name, overflow="fold")
    return shown


def _cells(dead_letter: DeadLetter, attempt: int) -> list[Text | str]:
    origin = dead_letter.identity
    return [
        f"{dead_letter.partition}:{dead_letter.offset}",
        Text(visible_line(dead_letter.reason)),
        Text(visible_line(dead_letter.stage)),
        Text(visible_line(f"{origin.topic}/{origin.partition}:{origin.offset}")),
        "-" if origin.timestamp < 0 else utc_time(origin.timestamp),
        utc_time(dead_letter.timestamp),
        str(attempt),
        f"{dead_letter.size:,}",
        "cut" if dead_letter.sha256 else "",
    ]


def _dead_letters(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number:,} dead letters"
