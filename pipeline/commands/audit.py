"""`runstep audit`: proves that no record was lost or doubled, or names those that were."""

import json
import logging
import sys
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import _exit_codes
from pipeline.commands._settings import settings_from_context
from pipeline.errors import RunstepError
from pipeline.text import visible_line
from pipeline.tools.audit import Account, PartitionAccount, run_audit

MAX_GAPS: Final = 20_000
"""Ranges of missing offsets that are looked up, which takes some seconds."""


def audit(
    *,
    held: Annotated[bool, typer.Option("--held", help="Audit only the offsets that Kafka still holds.")] = False,
    dead_letters: Annotated[bool, typer.Option(help="Compare the dead-letter topic with the ledger, too.")] = True,
    max_gaps: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Look up N ranges of missing offsets of each partition in Kafka; more are a problem.",
        ),
    ] = MAX_GAPS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: `ok`, `problems`, and all numbers.")] = False,
) -> None:
    """Prove that every offset is accounted for: stored, dead-lettered or ignored, once.

    For each partition, the audit compares the offsets below the group's committed offset with the ledger. It then
    compares the ledger with the steps, and its dead-lettered offsets with the dead-letter topic. Offsets that the
    ledger lacks are looked up in Kafka: a record there is lost; without one, a transaction or compaction explains the
    gap. What lies in more ranges than --max-gaps stays unknown, which is a problem.

    The audit changes nothing and may run beside the daemon. The ClickHouse user needs SELECT on run_step_ledger and
    run_steps_current, as runstep_reader has it.

    Exit codes: 0 everything is accounted for, 1 there are problems, 69 a service is away, 78 a setting is wrong.

    Examples: `runstep audit`, `runstep audit --json --no-dead-letters`,
    `RUNSTEP_CLICKHOUSE__URL=http://runstep_reader:...@host:8123 runstep audit`.
    """
    progress = Console(stderr=True, highlight=False)

    def show_progress(what: str) -> None:
        if sys.stderr.isatty():
            progress.print(Text(f"auditing {what}", style="dim"))

    try:
        settings = settings_from_context(kafka_log_level=logging.CRITICAL)
        account = run_audit(settings, show_progress, held=held, dead_letters=dead_letters, max_gaps=max_gaps)
    except RunstepError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problems": [str(error)]}, indent=2))
        raise
    if as_json:
        typer.echo(json.dumps(_plain(account), indent=2))
    else:
        _show(account)
    if account.problems():
        raise typer.Exit(_exit_codes.FINDINGS)


def _plain(account: Account) -> dict[str, Any]:
    """Return the result for `--json`."""
    return {
        "ok": not account.problems(),
        "problems": account.problems(),
        "partitions": [
            {
                **asdict(part),
                "partition": part.partition.number,
                "topic": part.partition.topic,
                "lag": part.lag,
                "missing": part.missing,
                "gaps": [gap._asdict() for gap in part.gaps],
            }
            for part in account.partitions
        ],
        "steps": asdict(account.steps),
        "dead_letters": asdict(account.dead_letters),
    }


def _show(account: Account) -> None:
    # Without a terminal the table is wide, so that nothing is cut.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(_table(account.partitions))
    steps, dead_letters = account.steps, account.dead_letters
    console.print(f"{steps.steps:,} steps, {steps.seen_twice:,} visible twice")
    if dead_letters.skipped is None:
        console.print(_dead_letters_line(account), soft_wrap=True)
    elif not dead_letters.expected:
        console.print(dead_letters.skipped, soft_wrap=True)
    for note in _notes(account.partitions):
        console.print(note, soft_wrap=True)
    problems = account.problems()
    for problem in problems:
        console.print(Text(visible_line(problem), style="bold red"), soft_wrap=True)
    if not problems:
        console.print(_last_line(account))


def _last_line(account: Account) -> Text:
    if all(part.committed is None for part in account.partitions):
        return Text(
            "the group has committed nothing yet, so there is nothing to audit; start `runstep run`", style="yellow"
        )
    if account.unstable:
        waits = f"{account.unstable:,} more wait behind a transaction that a producer has left open"
        fix = "run `runstep doctor`, which names the producer and the command that ends it"
        return Text(f"{account.accounted:,} offsets are accounted for, {waits}; {fix}", style="yellow")
    return Text(f"all {account.accounted:,} offsets are accounted for", style="green")


def _dead_letters_line(account: Account) -> str:
    dead_letters = account.dead_letters
    expired = f"; {dead_letters.expired:,} may have expired" if dead_letters.expired else ""
    return f"{dead_letters.found:,} of {dead_letters.expected:,} dead-lettered offsets have their dead letter{expired}"


def _table(parts: Any) -> Table:
    shown = Table()
    shown.add_column("partition")
    for name in ("committed", "lag", "stored", "dead-lettered", "ignored", "explained", "lost"):
        shown.add_column(name, justify="right")
    for part in parts:
        shown.add_row(f"{part.partition.topic}/{part.partition.number}", *_numbers(part))
    return shown


def _numbers(part: PartitionAccount) -> list[str]:
    missing = part.missing
    lost, unverified = missing.get("lost", 0) + missing.get("expired", 0), missing.get("unverified", 0)
    numbers = [part.lag, *(part.outcomes.get(name, 0) for name in ("stored", "dead_lettered", "ignored"))]
    numbers += [sum(missing.values()) - lost - unverified, lost]
    return ["-" if part.committed is None else f"{part.committed:,}", *(f"{number:,}" for number in numbers)]


def _notes(parts: Any) -> list[str]:
    """Return what explains the numbers and is no problem."""
    notes = []
    for cause, meaning in {
        "transaction": "hold no record: they are transaction markers or aborted records",
        "compaction": "hold no record any more: the topic is compacted",
    }.items():
        number = sum(part.missing.get(cause, 0) for part in parts)
        if number:
            notes.append(f"{number:,} offsets {meaning}")
    for attribute, meaning in {
        "recreated": "offsets are in the ledger with several timestamps: the topic was recreated",
        "repeated_rows": "rows are stored twice until ClickHouse merges them; no query sees them",
        "in_flight": "offsets are written and not committed yet",
        "foreign": "offsets of the ledger are behind the end of the log: of an earlier topic, or of another cluster",
    }.items():
        number = sum(getattr(part, attribute) for part in parts)
        if number:
            notes.append(f"{number:,} {meaning}")
    return notes
