"""The README's table of all settings, written from the code so that it cannot be wrong."""

import types
import typing
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr

from pipeline.config.names import FILE, Name, all_names

_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "file",
    SecretStr: "secret",
    tuple[str, ...]: "list",
    tuple[float, ...]: "list of numbers",
}


def settings_table() -> str:
    """Return a Markdown table: name in TOML, environment variable, type, default, description."""
    head = "| `runstep.toml` | environment | type | default | what it does |\n|---|---|---|---|---|"
    return "\n".join((head, *(_row(name) for name in all_names().values())))


def _row(name: Name) -> str:
    description = (name.field.description or "").replace("\n", " ").replace("|", "\\|")
    if name.from_file:
        description += f" Also `{name.key.rpartition('.')[2]}{FILE}`."
    cells = (f"`{name.key}`", f"`{name.variable}`", type_words(name.field.annotation), _default(name), description)
    return f"| {' | '.join(cells)} |"


def type_words(annotation: Any) -> str:
    """Return a type in the words of a user."""
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return type_words(next(part for part in typing.get_args(annotation) if part is not types.NoneType))
    return _WORDS[annotation]


def _default(name: Name) -> str:
    default = name.default
    if default is None or default == ():
        return ""
    if isinstance(default, SecretStr):
        return f"`{default.get_secret_value()}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(f'{item:g}' if isinstance(item, float | int) else item for item in default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
