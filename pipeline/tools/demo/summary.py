"""The report at the end of the demo: what the tables say, and whether they account for everything Kafka holds."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.tools.demo.account import Account
from pipeline.tools.queries import Report, reports

_SLOWEST: Final = """
SELECT round(duration_ms / 1000, 1) AS seconds, status, arrayStringConcat(tool_names, ', ') AS tools, step_id
FROM run_steps_current WHERE duration_ms IS NOT NULL AND status != 'expired' ORDER BY duration_ms DESC LIMIT 5
"""
"""Without the expired ones, which all took as long as a run may last."""

_SHORT_TEXT: Final = 24
_LONGEST_TEXT: Final = 64


def print_report(console: Console, client: Any) -> None:
    """Ask the tables the questions of `runstep query --report` and print the answers."""
    known = reports()
    sections = (
        ("Steps", _of(known["steps_by_status"], "type, status, steps, p50_s, p95_s, p99_s, max_s", 12)),
        ("Errors that occur most", _of(known["top_errors"], "steps, category, code, sample AS message", 6)),
        ("Slowest steps", _SLOWEST),
    )
    for title, sql in sections:
        answer = client.query(sql)
        _print_table(console, title, answer.column_names, answer.result_rows)


def _of(report: Report, columns: str, rows: int) -> str:
    return f"SELECT {columns} FROM (\n{report.sql}\n) LIMIT {rows}"  # noqa: S608 - our own files


def print_account(console: Console, account: Account) -> None:
    """Print what Kafka holds against what the ledger says of it."""
    outcomes = account.outcomes
    sums = Table(title="The account", title_justify="left", title_style="bold", show_header=False, box=None)
    sums.add_column(justify="right", style="bold")
    sums.add_column()
    sums.add_row(f"{sum(account.held.values()):,}", f"records in Kafka, {len(account.held)} partitions")
    sums.add_row(f"{account.read:,}", "offsets in the ledger, each one once: read =")
    sums.add_row(f"{outcomes.get('stored', 0):,}", "stored")
    sums.add_row(f"+ {outcomes.get('dead_lettered', 0):,}", f"dead-lettered ({account.dead_letters:,} in the topic)")
    sums.add_row(f"+ {outcomes.get('ignored', 0):,}", "ignored (deltas, other objects, tombstones)")
    console.print(sums)
    faults = account.faults()
    for fault in faults:
        console.print(Text(f"does not add up: {fault}", style="bold red"))
    if not faults:
        console.print(Text("Every offset is accounted for, exactly once.", style="bold green"))


def _print_table(console: Console, title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(names):
        is_number = bool(rows) and isinstance(rows[0][position], int | float)
        longest = max((len(_cell(row[position])) for row in rows), default=0)
        # On a narrow terminal only long texts give way.
        table.add_column(
            name.removesuffix("_s"),
            justify="right" if is_number else "left",
            no_wrap=longest <= _SHORT_TEXT,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    text = "".join(filter(str.isprintable, str(value)))
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
