"""`runstep check`: whether everything the daemon needs is present, line by line, and what to do where it is not."""

from collections.abc import Iterator
from typing import Annotated

import typer

from pipeline.commands._findings import exit_code, load_quietly, print_json, print_lines, print_sum
from pipeline.config import Loaded
from pipeline.tools.checks import Finding, clickhouse_findings, guarded, kafka_findings, offline_findings


def check(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Check Kafka and ClickHouse too; nothing is changed there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: `ok`, and `checks` one by one.")] = False,
) -> None:
    """Check that everything the daemon needs is present.

    Without `--live` it checks the settings and packages only. With it also Kafka, topics, dead-letter topic, group,
    ClickHouse, tables and grants; it changes nothing there.

    A check that fails itself is a finding, `unknown: ...`; the others go on.

    Exit codes: 0 all checks passed, 1 a check failed, 69 a service does not answer, 78 a setting is wrong.

    Examples: `runstep check`, `runstep check --live`, `runstep check --live --json`.
    """
    findings = _findings(load_quietly(as_json=as_json), live=live)
    if as_json:
        raise typer.Exit(exit_code(print_json(findings)))
    seen = print_lines(findings)
    print_sum(seen)
    raise typer.Exit(exit_code(seen))


def _findings(loaded: Loaded, *, live: bool) -> Iterator[Finding]:
    yield from guarded("settings", offline_findings(loaded.settings, loaded.origins), required=True)
    if live:
        yield from guarded("kafka", kafka_findings(loaded.settings), required=True)
        yield from guarded("clickhouse", clickhouse_findings(loaded.settings.clickhouse), required=True)
