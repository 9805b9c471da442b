"""`runstep config`: the settings in force, and where each comes from; secrets are masked in every form."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands._settings import config_file
from pipeline.config import MASK, load_with_origins, settings_table

DEFAULT: Final = "default"


def config(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: `settings`, and `sources` by dotted key.")] = False,
    as_toml: Annotated[bool, typer.Option("--toml", help="As a runstep.toml to start from.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of all settings there are.")] = False,
) -> None:
    """Show the settings in force, and where each comes from.

    Secrets are masked. Exit codes: 0 fine, 78 a setting is wrong (each problem on a line).

    Examples: `runstep config`, `runstep --config prod.toml config --json`, `runstep config --toml > runstep.toml`.
    """
    if as_json + as_toml + markdown > 1:
        raise typer.BadParameter("give one of --json, --toml and --markdown")
    if markdown:
        typer.echo(settings_table())
        return
    loaded = load_with_origins(config_file.get())
    masked = loaded.settings.masked()
    if as_json:
        typer.echo(json.dumps({"settings": masked, "sources": _sources(masked, loaded.origins)}, indent=2))
    elif as_toml:
        typer.echo("\n".join(_toml(masked, loaded.origins)))
    else:
        _print(masked, loaded.origins)


def flat(masked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values."""
    for name, value in masked.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield name, value


def _sources(masked: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, str]:
    return {key: origins.get(key, DEFAULT) for key, _ in flat(masked)}


def _toml(masked: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    yield "# The settings in force. A line that begins with # is not set, or is a secret that does not belong here."
    for name, value in masked.items():
        if not isinstance(value, Mapping):
            yield _toml_line(name, value, origins.get(name))
    for section, values in masked.items():
        if isinstance(values, Mapping):
            yield f"\n[{section}]"
            yield from (_toml_line(name, value, origins.get(f"{section}.{name}")) for name, value in values.items())


def _toml_line(name: str, value: Any, origin: str | None) -> str:
    source = "" if origin is None else f"  # {origin}"
    if value is None:
        return f"# {name} ="
    # JSON's notation of text, numbers, booleans and lists is TOML's too.
    line = f"{name} = {json.dumps(value)}{source}"
    return f"# {line}" if MASK in str(value) else line


def _print(masked: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for key, value in flat(masked):
            typer.echo(f"{key} = {_shown(value)}  ({origins.get(key, DEFAULT)})")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("setting", "value", "from"):
        table.add_column(title, overflow="fold")
    for key, value in flat(masked):
        origin = origins.get(key, DEFAULT)
        style = "dim" if origin == DEFAULT else "green"
        table.add_row(Text(key), Text(_shown(value)), Text(origin, style=style))
    console.print(table)


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
