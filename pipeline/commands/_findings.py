"""How commands print findings: a line each for people, JSON for programs; and the exit code they make together."""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from pipeline import logs
from pipeline.commands import _exit_codes
from pipeline.commands._settings import config_file
from pipeline.config import Loaded, load_with_origins
from pipeline.errors import ConfigError
from pipeline.text import visible_line
from pipeline.tools.checks import Finding

_WIDTH: Final = 5
_WORDS: Final = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "bad": ("bad", "bold red")}


def load_quietly(*, as_json: bool) -> Loaded:
    """Read the settings, and silence the clients' logs: every cause becomes a finding instead.

    Raises:
        ConfigError: a setting is wrong.
        typer.Exit: a setting is wrong, and the JSON that says so is printed.
    """
    try:
        loaded = load_with_origins(config_file.get())
    except ConfigError as error:
        if as_json:
            print_json(Finding("settings", ok=False, detail=line) for line in str(error).splitlines())
            raise typer.Exit(_exit_codes.CONFIGURATION) from error
        raise
    logs.configure(loaded.settings.log, kafka_level=logging.CRITICAL)
    return loaded


def print_json(findings: Iterable[Finding], **more: object) -> list[Finding]:
    """Print `ok`, `checks` one by one, and what else is given; return the findings."""
    seen = list(findings)
    # `cure` is the name that `fix` had in the first versions; programs read it.
    checks = [{**finding._asdict(), "cure": finding.fix, "level": finding.level} for finding in seen]
    typer.echo(json.dumps({"ok": all(finding.ok for finding in seen), **more, "checks": checks}, indent=2))
    return seen


def print_lines(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as it comes, since a service that is away takes its whole time-out; return them."""
    console = Console(highlight=False, soft_wrap=True)
    seen = []
    for finding in findings:
        word, style = _WORDS[finding.level]
        subject, detail, fix = map(visible_line, (finding.subject, finding.detail, finding.fix))
        console.print(Text.assemble((f"{word:<{_WIDTH}}", style), (subject, "bold"), f"  {detail}"))
        if fix:
            console.print(Text(f"{'':<{_WIDTH}}-> {fix}", style="yellow"))
        seen.append(finding)
    return seen


def print_sum(findings: Sequence[Finding]) -> None:
    """Print how many failed."""
    wrong = sum(not finding.ok for finding in findings)
    typer.echo(f"{wrong} of {len(findings)} checks failed" if wrong else f"all {len(findings)} checks passed")


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 when nothing is wrong, 69 when a service is away, else 1."""
    wrong = [finding for finding in findings if not finding.ok]
    if any(finding.unavailable for finding in wrong):
        return _exit_codes.UNAVAILABLE
    return _exit_codes.FINDINGS if wrong else _exit_codes.OK
