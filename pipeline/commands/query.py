"""`runstep query`: runs SQL or a named report, on a server or on an embedded data directory, and prints the answer.

The reports belong to `pipeline.tools.queries`. The command only reads. Values may be text that producers sent, so
control characters are made visible.
"""

import json
import re
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import server_line, sink_error
from pipeline.commands import _exit_codes
from pipeline.commands._settings import store_settings
from pipeline.commands._times import parse_time
from pipeline.config import ClickHouseSettings
from pipeline.text import visible, visible_json
from pipeline.tools.queries import NamedReport, reports
from pipeline.tools.queries.parameters import time_bounds

MAX_TABLE_ROWS: Final = 1_000
"""Rows that a table shows; the other formats have no limit."""


class Output(StrEnum):
    """The format in which the answer is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


_FORMATS: Final[dict[Output, tuple[str, dict[str, Any]]]] = {
    Output.TABLE: ("JSONCompactStringsEachRowWithNamesAndTypes", {"limit": MAX_TABLE_ROWS + 1}),
    Output.JSON: ("JSONEachRow", {"output_format_json_array_of_rows": 1, "date_time_output_format": "iso"}),
    Output.JSONL: ("JSONEachRow", {"date_time_output_format": "iso"}),
    Output.CSV: ("CSVWithNames", {"date_time_output_format": "iso"}),
}
"""The server formats the answer, so that no value loses precision on the way."""

_QUOTED: Final = re.compile(r'"(?:[^"]++|"")*+"')
_FORMULAS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""With what text begins that a spreadsheet runs; the last four are the wide forms of the first."""

_NULL: Final = "ᴺᵁᴸᴸ"
"""How the server writes NULL, in characters that many fonts lack."""


class BoundQuery(NamedTuple):
    """SQL, and the values of its placeholders."""

    sql: str
    values: dict[str, str]


def query(  # noqa: PLR0913 - a command's options are its parameters
    sql: Annotated[
        str | None, typer.Argument(help="A SELECT, SHOW or DESCRIBE; `-` reads it from standard input.")
    ] = None,
    *,
    report: Annotated[str | None, typer.Option("--report", "-r", help="Run a report by its name; see --list.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Begin of the report's time range: 2h, 7d, or 2026-01-31T12:00 (UTC)."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="End of the report's time range, in the same forms.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the report, see --list; may be repeated."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the reports and their parameters.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the report's SQL, to be run by another client.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what the server would read, and by which index.")
    ] = False,
    output: Annotated[Output, typer.Option("--format", "-f", help="Format of the answer.")] = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    spreadsheet: Annotated[
        bool,
        typer.Option(
            "--spreadsheet", help="With --format csv: put ' before text that a spreadsheet would run as a formula."
        ),
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="An embedded data directory, such as the demo's.")
    ] = None,
) -> None:
    """Query the tables: SQL, or a report by name.

    Control characters in the text of producers are made visible in a table, and in CSV on a terminal; in JSON they are
    escaped. CSV in a file or a pipe has the text as it is: add --spreadsheet where a spreadsheet opens it.

    `query` only reads. The tables and views are run_steps_current, run_step_ledger, runs and tool_calls; `runstep query
    --list` shows the reports.

    Exit codes: 0 answered, 1 ClickHouse rejects the SQL, 69 ClickHouse is away, 78 a setting is wrong.

    Examples: `runstep query --report outcomes_by_assistant --since 7d`,
    `runstep query --report slowest_steps --set limit=5 --set assistant=asst_x`,
    `runstep query "SELECT status, count() FROM run_steps_current GROUP BY status"`.
    """
    form = Output.JSON if as_json else output
    if spreadsheet and form is not Output.CSV:
        raise typer.BadParameter("--spreadsheet is an option of --format csv")
    if listing:
        _list(form)
        return
    named = _report(sql, report)
    statement = (
        _sql_query(str(sql), since, until, given) if named is None else _report_query(named, since, until, given)
    )
    if show:
        typer.echo(_runnable_sql(named, statement))
        return
    settings = store_settings(data)
    client = connect(settings, settings.database)
    try:
        answer = _run(client, settings, _explain_query(statement) if explain else statement, form)
    finally:
        client.close()
    text = answer.decode("utf-8", "replace")
    _show(without_formulas(text) if spreadsheet else text, form, plain=explain)


def _list(form: Output) -> None:
    named = reports().values()
    if form is not Output.TABLE:
        typer.echo(json.dumps([_described(each) for each in named], indent=2))
        return
    group = ""
    for each in named:
        if each.group != group:
            group = each.group
            typer.echo(f"\n{group}")
        typer.echo(f"  {each.name:22}  {each.description}")
        for one in each.parameters:
            typer.echo(f"  {'':22}    --set {one.name}={one.default}  {one.meaning}")


def _described(report: NamedReport) -> dict[str, Any]:
    named = {"name": report.name, "group": report.group, "description": report.description}
    return {**named, "parameters": [asdict(one) for one in report.parameters]}


def _report(sql: str | None, name: str | None) -> NamedReport | None:
    """Return the report of --report, None where SQL was given.

    Raises:
        BadParameter: neither or both were given, or there is no such report.
    """
    if (sql is None) == (name is None):
        raise typer.BadParameter("give SQL or --report NAME; --list shows the reports")
    if name is None:
        return None
    known = reports()
    if name not in known:
        raise typer.BadParameter(f"there is no report {name!r}; the reports are {', '.join(known)}")
    return known[name]


def _sql_query(sql: str, since: str | None, until: str | None, given: list[str] | None) -> BoundQuery:
    """Return SQL as it was given, without the semicolon at its end.

    Raises:
        BadParameter: the SQL is empty, or an option of reports was given with it.
    """
    if since or until or given:
        raise typer.BadParameter(
            "--since, --until and --set are options of --report; write the conditions into the SQL"
        )
    text = (sys.stdin.read() if sql == "-" else sql).strip().rstrip(";").rstrip()
    if not text:
        raise typer.BadParameter("the SQL is empty")
    return BoundQuery(text, {})


def _report_query(report: NamedReport, since: str | None, until: str | None, given: list[str] | None) -> BoundQuery:
    """Return the report's SQL with its time range and parameters.

    Raises:
        BadParameter: a time cannot be read, or the report has no such parameter.
    """
    pairs = [each.partition("=") for each in given or ()]
    for name, sign, _ in pairs:
        if not sign:
            raise typer.BadParameter(f"--set {name}: expected NAME=VALUE, such as limit=10")
    try:
        values = report.values(
            time_bounds(parse_time(since), parse_time(until)), {name: value for name, _, value in pairs}
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return BoundQuery(report.text, values)


def _runnable_sql(named: NamedReport | None, statement: BoundQuery) -> str:
    if named is None:
        raise typer.BadParameter("--show prints the SQL of a report; give --report NAME")
    return named.written_out(statement.values).rstrip()


def _explain_query(statement: BoundQuery) -> BoundQuery:
    return statement._replace(sql=f"EXPLAIN indexes = 1, description = 0\n{statement.sql}")


def _run(client: Client, settings: ClickHouseSettings, statement: BoundQuery, form: Output) -> bytes:
    """Return the server's answer, already formatted.

    Raises:
        SinkUnavailable: the server is away.
        Exit: the server rejects the statement; the reason is on standard error.
    """
    name, options = _FORMATS[form]
    writable = client.server_settings["readonly"].value == "0"
    try:
        # 2, not 1: with 1 the settings of the statement could not be changed.
        changed = {**options, **({"readonly": 2} if writable else {})}
        answer = client.raw_query(statement.sql, parameters=statement.values or None, fmt=name, settings=changed)
    except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through
        failure = sink_error(error, address(settings))
        if failure.code is None:
            raise failure from None
        typer.echo(f"runstep: {visible(_rejection(failure.code, server_line(str(error))))}", err=True)
        raise typer.Exit(_exit_codes.FINDINGS) from None
    return bytes(answer)


def _rejection(code: int, line: str) -> str:
    missing = "; `runstep migrate` creates the tables of runstep"
    hints = {164: "; `runstep query` only reads", 60: missing}
    # A view with parameters is called as a function, so its absence is an unknown function.
    hint = {**hints, 46: missing}.get(code, "") if "runs_between" in line else hints.get(code, "")
    if code == 62 and "(FORMAT)" in line:  # noqa: PLR2004 - SYNTAX_ERROR
        hint = "; choose the format with --format, not in the SQL"
    return f"ClickHouse error {code}: {line}{hint}"


def without_formulas(text: str) -> str:
    """Return CSV in which no text begins as a formula does; the server quotes text, and no number."""
    return _QUOTED.sub(lambda cell: f"\"'{cell[0][1:]}" if cell[0][1:2] in _FORMULAS else cell[0], text)


def _show(text: str, form: Output, *, plain: bool = False) -> None:
    """Print the answer; `plain` prints one column of text without a table."""
    if form is Output.CSV:
        sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
        return
    if form is not Output.TABLE:
        sys.stdout.write(visible_json(text))
        return
    # Not splitlines(), which also splits at characters that JSON leaves unescaped.
    lines = text.rstrip("\n").split("\n") if text else []
    if not lines:
        typer.echo("done; the statement returned no rows")
        return
    if plain:
        typer.echo("\n".join(visible(str(json.loads(line)[0])) for line in lines[2:]))
        return
    # Without a terminal the table is wide, so that nothing is cut.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    console.print(answer_table(lines))
    rows = len(lines) - 2
    if rows > MAX_TABLE_ROWS:
        typer.echo(f"these are the first {MAX_TABLE_ROWS:,} rows; --format csv or jsonl prints all", err=True)


def answer_table(lines: list[str]) -> Table:
    """Return an answer in JSONCompactStringsEachRowWithNamesAndTypes as a table, numbers to the right."""
    parsed = map(json.loads, lines)
    shown = Table()
    for name, kind in zip(next(parsed), next(parsed), strict=True):
        is_number = kind.removeprefix("Nullable(").startswith(("UInt", "Int", "Float", "Decimal"))
        shown.add_column(_cell(name), justify="right" if is_number else "left", overflow="fold")
    for _, row in zip(range(MAX_TABLE_ROWS), parsed, strict=False):
        shown.add_row(*(_cell("NULL" if value == _NULL else value) for value in row))
    return shown


def _cell(value: str) -> Text:
    return Text(visible(value))
