"""How `runstep dlq` shows letters. What producers sent is shown redacted and without control characters."""

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
from pipeline.tools.dlq import Book, Decision, Letter, Outcome, Report

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


def plain(letter: Letter, book: Book) -> dict[str, Any]:
    """Return a letter for `--json`; times in milliseconds since the epoch."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "stage": letter.stage,
        "origin": letter.identity._asdict(),
        "dead_lettered": letter.timestamp,
        "bytes": letter.size,
        "truncated": bool(letter.sha256),
        "state": book.outcomes.get(letter.identity, _OPEN),
    }


def letter_table(letters: Sequence[Letter], book: Book) -> Table:
    """Return the letters as a table."""
    shown = _headed()
    for letter in letters:
        shown.add_row(*_cells(letter), book.outcomes.get(letter.identity, _OPEN))
    return shown


def decision_table(decisions: Iterable[Decision]) -> Table:
    """Return what would be done as a table."""
    shown = _headed("would be")
    for decision in decisions:
        verdict, cause = decision.outcome or "left", visible_line(redact(decision.cause))
        # As Text: what a letter says of its topic may look like markup.
        shown.add_row(*_cells(decision.letter), Text(f"{verdict}: {cause}" if cause else str(verdict)))
    return shown


def by_reason(letters: Iterable[Letter]) -> str:
    """Return how many letters there are of each reason, as one line."""
    counts = Counter(letter.reason for letter in letters)
    return ", ".join(f"{visible_line(reason)} {number:,}" for reason, number in counts.most_common())


def summary(report: Report, *, dry: bool) -> list[str]:
    """Return what was done, a line each."""
    done = report.done
    lines = [f"{'would replay' if dry else 'replayed'} {_letters(done[Outcome.REPLAYED])}"]
    if done[Outcome.REQUEUED]:
        lines.append(f"{_letters(done[Outcome.REQUEUED])} cannot be replayed: put at the end, to be tried again")
    if done[Outcome.DROPPED]:
        lines.append(f"{_letters(done[Outcome.DROPPED])} cannot be replayed: dropped")
    if report.exhausted:
        lines.append(f"{_letters(report.exhausted)} left alone: refused --max-attempts times or more")
    if report.closed:
        lines.append(f"{_letters(report.closed)} replayed, requeued or dropped before")
    return lines


def failure_line(letter: Letter, cause: str) -> str:
    """Return why a letter cannot be replayed."""
    origin = letter.identity
    where = f"{visible_line(origin.topic)}/{origin.partition}:{origin.offset}"
    return f"letter {letter.partition}:{letter.offset}, of {where}, cannot be replayed: {visible_line(redact(cause))}"


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


def _cells(letter: Letter) -> list[Text | str]:
    origin = letter.identity
    return [
        f"{letter.partition}:{letter.offset}",
        Text(visible_line(letter.reason)),
        Text(visible_line(letter.stage)),
        Text(visible_line(f"{origin.topic}/{origin.partition}:{origin.offset}")),
        "-" if origin.timestamp < 0 else instant(origin.timestamp),
        instant(letter.timestamp),
        str(origin.attempt),
        f"{letter.size:,}",
        "cut" if letter.sha256 else "",
    ]


def _letters(number: int) -> str:
    return "1 letter" if number == 1 else f"{number:,} letters"
