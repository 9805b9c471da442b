"""`runstep check`: says, line by line, whether everything the daemon needs is there, and what to do where it is not."""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from pipeline import logs
from pipeline.checks import Finding, clickhouse_findings, kafka_findings, offline_findings
from pipeline.commands import exits
from pipeline.commands.context import config_file
from pipeline.config import Loaded, load_with_origins
from pipeline.errors import ConfigError

_WIDTH: Final = 5


def check(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask Kafka and ClickHouse too; nothing is changed there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: `ok`, and `checks` one by one.")] = False,
) -> None:
    """Say whether everything the daemon needs is there.

    Without `--live` it looks at the settings and packages only. With it: Kafka, topics, dead-letter topic, group,
    ClickHouse, tables, grants; it changes nothing anywhere.

    Exit codes: 0 all is well, 1 something is not, 69 a service does not answer, 78 a setting is wrong.

    Examples: `runstep check`, `runstep check --live`, `runstep check --live --json`.
    """
    try:
        loaded = load_with_origins(config_file.get())
    except ConfigError as error:
        if as_json:
            _as_json([Finding("settings", ok=False, detail=line) for line in str(error).splitlines()])
            raise typer.Exit(exits.CONFIGURATION) from error
        raise
    # Every cause becomes a line of the answer; the clients' own lines would only repeat it, worse.
    logs.configure(loaded.settings.log, kafka_level=logging.CRITICAL)
    findings = _findings(loaded, live=live)
    raise typer.Exit(_code(_as_json(findings) if as_json else _as_lines(findings)))


def _findings(loaded: Loaded, *, live: bool) -> Iterator[Finding]:
    yield from offline_findings(loaded.settings, loaded.origins)
    if live:
        yield from kafka_findings(loaded.settings)
        yield from clickhouse_findings(loaded.settings.clickhouse)


def _as_json(findings: Iterable[Finding]) -> list[Finding]:
    seen = list(findings)
    answer = {"ok": all(finding.ok for finding in seen), "checks": [finding._asdict() for finding in seen]}
    typer.echo(json.dumps(answer, indent=2))
    return seen


def _as_lines(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as it comes, since a service that is away takes its time-out; then the sum."""
    console = Console(highlight=False, soft_wrap=True)
    seen = []
    for finding in findings:
        word, style = ("ok", "green") if finding.ok else ("bad", "bold red")
        line = Text.assemble((f"{word:<{_WIDTH}}", style), (finding.subject, "bold"), f"  {finding.detail}")
        console.print(line)
        if finding.cure:
            console.print(Text(f"{'':<{_WIDTH}}-> {finding.cure}", style="yellow"))
        seen.append(finding)
    wrong = sum(not finding.ok for finding in seen)
    console.print(Text(f"{wrong} of {len(seen)} checks failed" if wrong else f"all {len(seen)} checks passed"))
    return seen


def _code(findings: Iterable[Finding]) -> int:
    wrong = [finding for finding in findings if not finding.ok]
    if any(finding.unavailable for finding in wrong):
        return exits.UNAVAILABLE
    return exits.FINDINGS if wrong else exits.OK
