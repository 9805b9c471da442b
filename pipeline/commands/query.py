"""`runstep query`: asks the tables, in SQL or by the name of a report, on a server or in an embedded data directory.

It only reads. What comes out is text that producers sent: control characters are shown, never sent to the terminal.
"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands import exits
from pipeline.commands.context import settings_from_context
from pipeline.commands.visible import visible
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError
from pipeline.reports import reports
from pipeline.sink.classify import server_line, sink_error
from pipeline.sink.client import EMBEDDED, address, connect, is_embedded

MOST_ROWS: Final = 1_000
"""Rows that a table shows; the other formats have no limit."""


class Output(StrEnum):
    """In what form the answer is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


_FORMATS: Final[dict[Output, tuple[str, dict[str, Any]]]] = {
    Output.TABLE: ("JSONCompactStringsEachRowWithNamesAndTypes", {"limit": MOST_ROWS + 1}),
    Output.JSON: ("JSONEachRow", {"output_format_json_array_of_rows": 1, "date_time_output_format": "iso"}),
    Output.JSONL: ("JSONEachRow", {"date_time_output_format": "iso"}),
    Output.CSV: ("CSVWithNames", {"date_time_output_format": "iso"}),
}
"""The server does the formatting: no value loses its precision on the way."""

_NULL: Final = "ᴺᵁᴸᴸ"
"""How the server writes it; few fonts can."""


def query(
    sql: Annotated[
        str | None, typer.Argument(help="A SELECT, SHOW or DESCRIBE; `-` reads it from standard input.")
    ] = None,
    report: Annotated[str | None, typer.Option("--report", "-r", help="A report by its name, see --list.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the reports.")] = False,
    output: Annotated[Output, typer.Option("--format", "-f", help="The form of the answer.")] = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="An embedded data directory, such as the demo's.")
    ] = None,
) -> None:
    """Ask the tables: SQL, or a report by name.

    Examples: `runstep query --report steps_by_status`,
    `runstep query "SELECT status, count() FROM run_steps_current GROUP BY status"`.
    """
    form = Output.JSON if as_json else output
    if listing:
        _list(form)
        return
    question = _question(sql, report)
    settings = settings_from_context().clickhouse
    if data is not None:
        settings = settings.model_copy(update={"url": SecretStr(f"{EMBEDDED}{_store(data)}")})
    _need_directory(settings)
    client = connect(settings, settings.database)
    try:
        answer = _ask(client, settings, question, form)
    finally:
        client.close()
    _show(answer, form)


def _list(form: Output) -> None:
    named = reports().values()
    if form is not Output.TABLE:
        typer.echo(json.dumps([{"name": each.name, "description": each.description} for each in named], indent=2))
        return
    width = max(len(each.name) for each in named)
    for each in named:
        typer.echo(f"{each.name:{width}}  {each.description}")


def _question(sql: str | None, report: str | None) -> str:
    """Return the SQL to run.

    Raises:
        BadParameter: nothing was asked, two things were, or there is no such report.
    """
    if (sql is None) == (report is None):
        raise typer.BadParameter("give SQL or --report NAME; --list shows the reports")
    if report is not None:
        known = reports()
        if report not in known:
            raise typer.BadParameter(f"there is no report {report!r}; there are {', '.join(known)}")
        return known[report].sql
    text = sys.stdin.read() if sql == "-" else str(sql)
    text = text.strip().rstrip(";").rstrip()
    if not text:
        raise typer.BadParameter("the SQL is empty")
    return text


def _store(data: Path) -> Path:
    """Return the directory of the embedded ClickHouse within a data directory, which may be that itself."""
    inner = data / "clickhouse"
    return inner if inner.is_dir() else data


def _need_directory(settings: ClickHouseSettings) -> None:
    """Refuse a directory that is not there: the embedded ClickHouse would make an empty one."""
    path = settings.url.get_secret_value().removeprefix(EMBEDDED)
    if is_embedded(settings) and not Path(path).is_dir():
        raise ConfigError(f"there is no data directory {path}; `runstep demo` says where it keeps its own")


def _ask(client: Client, settings: ClickHouseSettings, question: str, form: Output) -> bytes:
    """Return the server's answer, already formatted.

    Raises:
        SinkUnavailable: the server is away.
        Exit: the server says no; the reason is on standard error.
    """
    name, options = _FORMATS[form]
    writable = client.server_settings["readonly"].value == "0"
    try:
        # 2, not 1: the settings of a question may still be changed.
        answer = client.raw_query(question, fmt=name, settings={**options, **({"readonly": 2} if writable else {})})
    except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through
        failure = sink_error(error, address(settings))
        if failure.code is None:
            raise failure from None
        typer.echo(f"runstep: {_refusal(failure.code, server_line(str(error)))}", err=True)
        raise typer.Exit(exits.FINDINGS) from None
    return bytes(answer)


def _refusal(code: int, line: str) -> str:
    hints = {164: "; `runstep query` only reads", 60: "; `runstep migrate` makes the tables of runstep"}
    hint = hints.get(code, "")
    if code == 62 and "(FORMAT)" in line:  # noqa: PLR2004 - SYNTAX_ERROR
        hint = "; choose the form with --format, not in the SQL"
    return f"ClickHouse error {code}: {line}{hint}"


def _show(answer: bytes, form: Output) -> None:
    if form is not Output.TABLE:
        sys.stdout.write(answer.decode("utf-8", "replace"))
        return
    lines = answer.decode("utf-8", "replace").splitlines()
    if not lines:
        typer.echo("done; the statement has no answer")
        return
    # Off a terminal nothing is cut: whoever reads it has no window of 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    console.print(table(lines))
    rows = len(lines) - 2
    if rows > MOST_ROWS:
        typer.echo(f"the first {MOST_ROWS} rows; --format csv or jsonl shows all", err=True)


def table(lines: list[str]) -> Table:
    """Return an answer in JSONCompactStringsEachRowWithNamesAndTypes as a table, numbers to the right."""
    parsed = map(json.loads, lines)
    shown = Table()
    for name, kind in zip(next(parsed), next(parsed), strict=True):
        is_number = kind.removeprefix("Nullable(").startswith(("UInt", "Int", "Float", "Decimal"))
        shown.add_column(_cell(name), justify="right" if is_number else "left", overflow="fold")
    for _, row in zip(range(MOST_ROWS), parsed, strict=False):
        shown.add_row(*(_cell("NULL" if value == _NULL else value) for value in row))
    return shown


def _cell(value: str) -> Text:
    return Text(visible(value))
