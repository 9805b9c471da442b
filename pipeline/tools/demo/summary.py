"""The results at the end of the demo: reports from the tables, the comparison with Kafka, and the HTML page."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.config import ClickHouseSettings
from pipeline.text import UNKNOWN, exact_count, readable
from pipeline.tools.demo.reconciliation import Reconciliation
from pipeline.tools.html_report import Period, extent, report_on, write_page
from pipeline.tools.queries import NamedReport, reports

_SLOWEST: Final = """
SELECT round(duration_ms / 1000, 1) AS seconds, status, arrayStringConcat(tool_names, ', ') AS tools, step_id
FROM run_steps_current WHERE duration_ms IS NOT NULL AND status != 'expired' ORDER BY duration_ms DESC LIMIT 5
"""
"""Expired steps are left out: they all last until the deadline of their run."""

_MAX_UNWRAPPED_CHARS: Final = 24
_MAX_CELL_CHARS: Final = 64
_PAGE_NAME: Final = "report.html"


def print_report(console: Console, client: Any) -> None:
    """Run some reports of `runstep query` and print their answers."""
    known = reports()
    sections = (
        (
            "Steps, durations in seconds",
            _of(known["steps_by_status"], "type, status, steps, p50_s, p95_s, p99_s, max_s", 12),
        ),
        ("Errors that occur most", _of(known["top_errors"], "steps, category, code, sample AS message", 6)),
        ("Slowest steps", _SLOWEST),
    )
    for title, sql in sections:
        answer = client.query(sql)
        _print_table(console, title, answer.column_names, answer.result_rows)


def _of(report: NamedReport, columns: str, rows: int) -> str:
    return f"SELECT {columns} FROM (\n{report.sql}\n) LIMIT {rows}"  # noqa: S608 - no foreign text


def print_reconciliation(console: Console, compared: Reconciliation) -> None:
    """Print the records that Kafka holds beside the outcomes in the ledger."""
    outcomes = compared.outcomes
    sums = Table(title="Kafka and ledger", title_justify="left", title_style="bold", show_header=False, box=None)
    sums.add_column(justify="right", style="bold")
    sums.add_column()
    sums.add_row(f"{sum(compared.held.values()):,}", f"records in Kafka, {len(compared.held)} partitions")
    sums.add_row(f"{compared.read:,}", "distinct offsets in the ledger =")
    sums.add_row(f"{outcomes.get('stored', 0):,}", "stored")
    sums.add_row(f"+ {outcomes.get('dead_lettered', 0):,}", f"dead-lettered ({compared.dead_letters:,} in the topic)")
    sums.add_row(f"+ {outcomes.get('ignored', 0):,}", "ignored (deltas, other objects, tombstones)")
    console.print(sums)
    faults = compared.faults()
    for fault in faults:
        console.print(Text(f"not accounted for: {fault}", style="bold red"))
    if not faults:
        console.print(Text("Every offset is accounted for, exactly once.", style="bold green"))


def write_demo_page(settings: ClickHouseSettings, client: Any, folder: Path) -> Path:
    """Write the page of `runstep report` about all of the demo's data into its folder, and return the path.

    Raises:
        SinkError: ClickHouse did not answer.
        ConfigError: the folder cannot be written to.
    """
    now = round(time.time() * 1000)
    # The simulated hour ends before now, so the range is not empty even with a single step.
    oldest, _ = extent(client) or (now - 60_000, now)
    path = folder / _PAGE_NAME
    write_page(report_on(client, settings, Period(min(oldest, now - 1_000), now + 1_000), "The demo's run steps"), path)
    return path


def _print_table(console: Console, title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(names):
        is_number = bool(rows) and isinstance(rows[0][position], int | float)
        longest = max((len(_cell(row[position])) for row in rows), default=0)
        # On a narrow terminal only long texts are wrapped.
        table.add_column(
            name.removesuffix("_s"),
            justify="right" if is_number else "left",
            no_wrap=longest <= _MAX_UNWRAPPED_CHARS,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return exact_count(value)
    return readable(value, _MAX_CELL_CHARS)
