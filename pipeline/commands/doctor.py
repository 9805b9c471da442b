"""`runstep doctor`: why do records not become rows? Asks the daemons, Kafka and ClickHouse, likeliest cause first."""

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer

from pipeline.commands._findings import exit_code, load_quietly, print_json, print_lines
from pipeline.config import Loaded
from pipeline.text import visible_line
from pipeline.tools.checks import (
    UNKNOWN,
    Finding,
    clickhouse_findings,
    daemon_findings,
    group_findings,
    guarantee_findings,
    guarded,
    kafka_findings,
    offline_findings,
)

_LEVELS: Final = ("bad", "warning", "ok")


def doctor(
    *,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="A daemon to ask, as [http[s]://]host:port; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: `ok`, `cause`, and `checks` one by one.")] = False,
) -> None:
    """Find out why records do not become rows, with a fix for every finding.

    Asks the daemon at `http.bind` (or those named by `--url`) for its state; Kafka about the group: members, partitions
    without an owner, lag, deleted offsets, other programs in the group; ClickHouse about tables, grants, deduplication,
    settings, views, disks, parts, replicas. It changes nothing there. The likeliest cause comes first.

    What the ClickHouse user may not see is a warning, with the grant that it takes; a warning is no failure. A check
    that fails itself is a finding, `unknown: ...`; the others go on.

    Exit codes: 0 nothing is wrong, 1 something is, 69 a service does not answer, 78 a setting is wrong.

    Examples: `runstep doctor`, `runstep doctor --url pod-1:9464 --url pod-2:9464`, `runstep doctor --json`.
    """
    loaded = load_quietly(as_json=as_json)
    if sys.stderr.isatty():
        typer.echo("looking ...", err=True)
    found = _by_weight(_findings(loaded, tuple(url or ())))
    cause = found[0] if not found[0].ok else None
    if as_json:
        print_json(found, cause=cause and cause.subject)
    else:
        print_lines(found)
        typer.echo(visible_line(_last_line(cause)))
    raise typer.Exit(exit_code(found))


def _findings(loaded: Loaded, urls: tuple[str, ...]) -> Iterator[Finding]:
    """Yield causes before what they cause: the services, what is in them, then the daemons that use both."""
    settings = loaded.settings
    yield from guarded("settings", offline_findings(settings, loaded.origins), required=True)
    store = list(guarded("clickhouse", clickhouse_findings(settings.clickhouse), required=True))
    yield from store
    kafka = list(guarded("kafka", kafka_findings(settings), required=True))
    yield from kafka
    if not any(finding.unavailable for finding in store):
        yield from guarded("clickhouse", guarantee_findings(settings.clickhouse))
    if not any(finding.unavailable for finding in kafka):
        yield from guarded("kafka", group_findings(settings))
    yield from guarded("daemon", daemon_findings(settings.http, urls))


def _by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Order by severity: a service that is away hides the rest; among equals a cause comes before its effect.

    What is unknown comes after what is known: it is the least likely cause.
    """
    found = list(findings)
    shown = [finding for finding in found if not _contradicted(finding, found)]
    return sorted(shown, key=_weight)


def _weight(finding: Finding) -> tuple[bool, int, bool]:
    return not finding.unavailable, _LEVELS.index(finding.level), finding.detail.startswith(UNKNOWN)


def _contradicted(finding: Finding, others: Iterable[Finding]) -> bool:
    """Return whether a closer look at the same subject found a fault after all."""
    return finding.level == "ok" and any(
        other.subject == finding.subject and other.level != "ok" and other.detail.startswith(finding.detail)
        for other in others
    )


def _last_line(cause: Finding | None) -> str:
    if cause is None:
        return "nothing is wrong"
    return f"the most likely cause: {cause.subject}: {cause.detail}"
