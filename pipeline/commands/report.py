"""`runstep report`: what the dashboards show, for a time range, as one HTML file that needs no server."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline.clickhouse.connection import connect
from pipeline.commands._settings import store_settings
from pipeline.commands._times import parse_time
from pipeline.tools.html_report import Period, report_on, require_libraries, require_writable, write_page


def report(
    *,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Begin of the range: 2h, 7d, or 2026-01-31T12:00 (UTC).")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the range, in the same forms; now by default.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = Path(
        "runstep-report.html"
    ),
    title: Annotated[str, typer.Option(help="The heading of the page.")] = "Run steps",
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="An embedded data directory, such as the demo's.")
    ] = None,
    opening: Annotated[bool, typer.Option("--open", help="Open the file in the browser.")] = False,
) -> None:
    """Write what the dashboards show, for a time range, as one HTML file.

    The file needs only a browser, neither Grafana nor a network. It can be mailed, attached to a post-mortem, or
    printed. All numbers come from ClickHouse; the ClickHouse user needs SELECT on run_steps_current, runs_between and
    run_step_ledger, as runstep_reader has it. An existing file of that name is replaced.

    Exit codes: 0 written, 69 ClickHouse is away or rejects a query, 78 a setting is wrong or the file cannot be
    written.

    Examples: `runstep report --since 7d`, `runstep report --since 2026-01-31T12:00 --until 2026-01-31T18:00 -o
    incident.html --title "Incident 42"`, `runstep report --data runstep-demo --open`.
    """
    period = _period(since, until)
    require_libraries()
    require_writable(output)
    settings = store_settings(data)
    client = connect(settings, settings.database)
    try:
        page = report_on(client, settings, period, title, _show_progress)
    finally:
        client.close()
    size = write_page(page, output)
    typer.echo(page.notice or f"{period}: {len(page.figures)} plots")
    typer.echo(f"written to {output} ({size / 1e6:.1f} MB)")
    if opening:
        typer.launch(output.resolve().as_uri())


def _period(since: str, until: str | None) -> Period:
    """Return the time range of the options.

    Raises:
        BadParameter: a time cannot be read, or the range is empty.
    """
    begin, end = parse_time(since), parse_time(until)
    try:
        return Period(begin or 0, round(time.time() * 1000) if end is None else end)
    except ValueError:
        raise typer.BadParameter("--since must be before --until, and in the past") from None


def _show_progress(topic: str) -> None:
    if sys.stderr.isatty():
        Console(stderr=True, highlight=False).print(Text(f"asking ClickHouse for {topic}", style="dim"))
