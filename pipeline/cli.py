"""The command `runstep`: finds the command that was asked for, and turns its end into one line and an exit code.

A command is a function of its own name in `pipeline/commands/`, or a `typer.Typer` of that name with commands below it.
Its module is imported when it is called, so that `runstep --help` and a typing error answer at once. Exit codes are in
`pipeline.commands._exit_codes`.
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
from pipeline.redaction import redact

COMMANDS: Final = {
    "run": "Run the daemon: Kafka in, ClickHouse and Prometheus out.",
    "migrate": "Create or update the tables, and show what is applied.",
    "check": "Say whether everything the daemon needs is there.",
    "dlq": "List, show and replay dead letters.",
    "audit": "Prove that every offset is accounted for.",
    "doctor": "Say why it is stuck, and what to do.",
    "top": "See running daemons at work, live.",
    "config": "Show the settings in force, and where each comes from.",
    "query": "Ask the tables: SQL, or a report by name.",
    "report": "Write what the dashboards show as one HTML file.",
    "simulate": "Produce realistic run-step events to a Kafka.",
    "demo": "See it all work, with nothing installed.",
}

# Typer brings its own copy of click in newer versions; what it exports leads to the right class in all of them.
_ClickError: Final[type[Exception]] = typer.BadParameter.__mro__[2]

_HELP: Final = """
Run-step telemetry: from Kafka to ClickHouse and Prometheus, with every offset accounted for.

Settings come from runstep.toml, from RUNSTEP_SECTION__KEY in the environment, and from secret files, the later ones
winning. Without any, Kafka is looked for on localhost:9092 and ClickHouse on http://localhost:8123.
"""
_EXAMPLES: Final = """
Begin here:

`runstep demo` - no servers needed, a minute

`runstep check --live` - is everything there that `run` needs?

`runstep migrate` - make the tables

`RUNSTEP_KAFKA__TOPICS=steps RUNSTEP_CLICKHOUSE__URL=http://user:password@host:8123 runstep run`

`runstep --config /etc/runstep.toml config` - what is in force, and why
"""


class Commands(TyperGroup):
    """The commands by name, each imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name=name, help=summary) for name, summary in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the command itself in the place of its summary."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command and return it as Typer understands it."""
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
        typer.Option("--config", "-c", metavar="FILE", help="The settings file instead of ./runstep.toml."),
    ] = None,
    version: Annotated[  # noqa: ARG001 - acts through its callback
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    config_file.set(config)


def main() -> None:
    """Run the command line of this process and end it with the right code."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what goes wrong is told on standard error, a line each."""
    try:
        result = typer.main.get_command(app).main(
            args=_config_first(arguments), prog_name="runstep", standalone_mode=False
        )
    except _ClickError as error:
        return _wrong_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _exit_codes.INTERRUPTED
    except RunstepError as error:
        return _tell(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a stack unasked
        return _fault(error)
    return result if isinstance(result, int) else _exit_codes.OK


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Let `--config FILE` stand behind the command too, where most people write it."""
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


def _tell(error: RunstepError) -> int:
    for line in str(error).splitlines() or [type(error).__name__]:
        typer.echo(f"runstep: {redact(line)}", err=True)
    return error.exit_code


def _fault(error: Exception) -> int:
    if _is_debugging():
        typer.echo(redact("".join(traceback.format_exception(error))), err=True)
    summary = redact(" ".join(f"{type(error).__name__}: {error}".split()))
    fix = "" if _is_debugging() else "; RUNSTEP_LOG__LEVEL=debug shows where"
    typer.echo(f"runstep: this is a fault of ours, please report it: {summary[:500]}{fix}", err=True)
    return _exit_codes.BUG


def _is_debugging() -> bool:
    asked = os.environ.get("RUNSTEP_LOG__LEVEL", "").lower() == "debug"
    return asked or logging.getLogger("pipeline").level == logging.DEBUG


if __name__ == "__main__":
    main()
