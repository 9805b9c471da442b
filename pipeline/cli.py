"""The command `runstep`: finds the subcommand, runs it, and turns its end into an exit code and a line for each error.

A command is a function of its own name in `pipeline/commands/`, or a `typer.Typer` of that name with commands below it.
Its module is imported when it is called, so that `runstep --help` and a mistyped command answer at once. Exit codes are
in `pipeline.commands._exit_codes`.
"""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline import __version__
from pipeline.commands import _exit_codes
from pipeline.commands._settings import config_file
from pipeline.errors import RunstepError
from pipeline.logs import clean
from pipeline.redaction import redact
from pipeline.text import visible

COMMANDS: Final = {
    "run": "Run the daemon: Kafka in, ClickHouse and Prometheus out.",
    "migrate": "Create or update the tables, and show the applied migrations.",
    "check": "Check that everything the daemon needs is there.",
    "dlq": "List, show and replay dead letters.",
    "audit": "Prove that every offset is accounted for.",
    "doctor": "Find out why the daemon makes no progress, and what to do.",
    "top": "Watch running daemons, live.",
    "config": "Show the effective settings, and where each comes from.",
    "query": "Query the tables: SQL, or a report by name.",
    "report": "Write what the dashboards show into one HTML file.",
    "simulate": "Produce realistic run-step events to Kafka.",
    "demo": "See it all work, without Kafka or ClickHouse installed.",
}

# Typer brings its own copy of click in newer versions; what it exports leads to the right class in all of them.
_ClickError: Final[type[Exception]] = typer.BadParameter.__mro__[2]

_HELP: Final = """
Run-step telemetry: from Kafka to ClickHouse and Prometheus, with every offset accounted for.

Settings come from runstep.toml, from RUNSTEP_SECTION__KEY in the environment, and from secret files; a later source
overrides an earlier one. By default Kafka is at localhost:9092 and ClickHouse at http://localhost:8123.
"""
_EXAMPLES: Final = """
Start here:

`runstep demo` - see it work in a minute, without servers

`runstep check --live` - check everything that `run` needs

`runstep migrate` - create the tables

`RUNSTEP_KAFKA__TOPICS=steps RUNSTEP_CLICKHOUSE__URL=http://user:password@host:8123 runstep run`

`runstep --config /etc/runstep.toml config` - show the effective settings and their sources
"""


class Commands(TyperGroup):
    """The commands by name, each imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name=name, help=summary) for name, summary in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the command itself in place of its summary."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command and return it as a command of Typer."""
    found = getattr(importlib.import_module(f"pipeline.commands.{name}"), name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name)(found)
    return typer.main.get_command(single)


app = typer.Typer(
    name="runstep",
    cls=Commands,
    help=_HELP,
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runstep {__version__}")
        raise typer.Exit(_exit_codes.OK)


@app.callback()
def _runstep(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The settings file, instead of ./runstep.toml."),
    ] = None,
    version: Annotated[  # noqa: ARG001 - acts through its callback
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    config_file.set(config)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed on standard error, a line each."""
    try:
        result = typer.main.get_command(app).main(
            args=_config_first(arguments), prog_name="runstep", standalone_mode=False
        )
    except _ClickError as error:
        return _wrong_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _exit_codes.INTERRUPTED
    except RunstepError as error:
        return _print_error(error)
    except Exception as error:  # noqa: BLE001 - a user sees a stack only at log level debug
        return _print_bug(error)
    return result if isinstance(result, int) else _exit_codes.OK


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Move `--config FILE` to the front: most people write it after the command."""
    own, rest = list(arguments), []
    if "--" in own:
        end = own.index("--")
        own, rest = own[:end], own[end:]
    for position, argument in enumerate(own):
        length = 2 if argument == "--config" else 1
        if argument.partition("=")[0] == "--config":
            taken = own[position : position + length]
            return [*taken, *own[:position], *own[position + length :], *rest]
    return [*own, *rest]


def _wrong_usage(error: Any) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
        return _exit_codes.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "runstep"
    typer.echo(f"{path}: {message} See `{path} --help`.", err=True)
    return _exit_codes.USAGE


def _print_error(error: RunstepError) -> int:
    for line in str(error).splitlines() or [type(error).__name__]:
        typer.echo(f"runstep: {visible(clean(line))}", err=True)
    return error.exit_code


def _print_bug(error: Exception) -> int:
    if _is_debugging():
        typer.echo(redact("".join(traceback.format_exception(error))), err=True)
    summary = clean(" ".join(f"{type(error).__name__}: {error}".split()))
    hint = "" if _is_debugging() else "; RUNSTEP_LOG__LEVEL=debug shows where"
    typer.echo(f"runstep: this is a bug in runstep, please report it: {visible(summary[:500])}{hint}", err=True)
    return _exit_codes.BUG


def _is_debugging() -> bool:
    is_requested = os.environ.get("RUNSTEP_LOG__LEVEL", "").lower() == "debug"
    return is_requested or logging.getLogger("pipeline").level == logging.DEBUG


if __name__ == "__main__":
    main()
