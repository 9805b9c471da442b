"""How `runstep dlq` shows dead letters. What producers sent is shown redacted and without control characters."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline.redaction import redact
from pipeline.text import visible, visible_line
from pipeline.tools.dlq import Book, DeadLetter, Decision, Outcome, Report

_OPEN = "open"


def console() -> Console:
    """Return where tables go; off a terminal nothing is cut: whoever reads it has no window of 80 columns."""
    return Console(width=None if sys.stdout.isatty() else 400, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, told what is done and of how many; nothing elsewhere."""
    shown = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def plain(dead_letter: DeadLetter, book: Book) -> dict[str, Any]:
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
        "state": book.outcomes.get(dead_letter.identity, _OPEN),
    }


def dead_letter_table(dead_letters: Sequence[DeadLetter], book: Book) -> Table:
    """Return the dead letters as a table."""
    shown = _headed()
    for dead_letter in dead_letters:
        shown.add_row(*_cells(dead_letter), book.outcomes.get(dead_letter.identity, _OPEN))
    return shown


def decision_table(decisions: Iterable[Decision]) -> Table:
    """Return what would be done as a table."""
    shown = _headed("would be")
    for decision in decisions:
        verdict, cause = decision.outcome or "left", visible_line(redact(decision.cause))
        # As Text: what a dead letter says of its topic may look like markup.
        shown.add_row(*_cells(decision.dead_letter), Text(f"{verdict}: {cause}" if cause else str(verdict)))
    return shown


def by_reason(dead_letters: Iterable[DeadLetter]) -> str:
    """Return how many dead letters there are of each reason, as one line."""
    counts = Counter(dead_letter.reason for dead_letter in dead_letters)
    return ", ".join(f"{visible_line(reason)} {number:,}" for reason, number in counts.most_common())


def summary(report: Report, *, dry: bool) -> list[str]:
    """Return what was done, a line each."""
    done = report.done
    lines = [f"{'would replay' if dry else 'replayed'} {_dead_letters(done[Outcome.REPLAYED])}"]
    if done[Outcome.REQUEUED]:
        lines.append(f"{_dead_letters(done[Outcome.REQUEUED])} cannot be replayed: put at the end, to be tried again")
    if done[Outcome.DROPPED]:
        lines.append(f"{_dead_letters(done[Outcome.DROPPED])} cannot be replayed: dropped")
    if report.exhausted:
        lines.append(f"{_dead_letters(report.exhausted)} left alone: refused --max-attempts times or more")
    if report.closed:
        lines.append(f"{_dead_letters(report.closed)} replayed, requeued or dropped before")
    return lines


def failure_line(dead_letter: DeadLetter, cause: str) -> str:
    """Return why a dead letter cannot be replayed."""
    origin = dead_letter.identity
    where = f"{visible_line(origin.topic)}/{origin.partition}:{origin.offset}"
    return f"dead letter {dead_letter.partition}:{dead_letter.offset}, of {where}, cannot be replayed: {visible_line(redact(cause))}"


def text_of(value: bytes | None) -> str:
    """Return bytes as text for a terminal: redacted, and without control characters."""
    return "null" if value is None else visible(redact(value.decode("utf-8", "backslashreplace")))


def line_of(value: bytes | None) -> str:
    """Return bytes as `text_of` does, on one line."""
    return visible_line(text_of(value))


def instant(milliseconds: int) -> str:
    """Return a time as text, in UTC."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _headed(last: str = "state") -> Table:
    shown = Table()
    for name in ("letter", "reason", "stage", "origin", "record time", "dead-lettered"):
        shown.add_column(name)
    shown.add_column("attempt", justify="right")
    shown.add_column("bytes", justify="right")
    shown.add_column("cut")
    shown.add_column(last, overflow="fold")
    return shown


def _cells(dead_letter: DeadLetter) -> list[Text | str]:
    origin = dead_letter.identity
    return [
        f"{dead_letter.partition}:{dead_letter.offset}",
        Text(visible_line(dead_letter.reason)),
        Text(visible_line(dead_letter.stage)),
        Text(visible_line(f"{origin.topic}/{origin.partition}:{origin.offset}")),
        "-" if origin.timestamp < 0 else instant(origin.timestamp),
        instant(dead_letter.timestamp),
        str(origin.attempt),
        f"{dead_letter.size:,}",
        "cut" if dead_letter.sha256 else "",
    ]


def _dead_letters(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number:,} dead letters"
