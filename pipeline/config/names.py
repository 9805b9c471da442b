"""The names of all settings: in `runstep.toml`, in the environment, in a secrets directory; and the table of them all.

Owns what a name looks like, which known name is nearest to a typo, and the Markdown of `runstep config --markdown`.
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.config.sections import Rotates
from pipeline.config.settings import Settings

PREFIX: Final = "RUNSTEP_"
FILE: Final = "_file"
_USERNAMES: Final = frozenset({"username", "sasl_username"})
_BESIDE: Final = frozenset({"kafka.security_protocol"})
"""Settings that belong to a login and do not change with it."""
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
"""Types in the words of a user."""


@dataclass(frozen=True, slots=True)
class Name:
    """One setting.

    Attributes:
        key: dotted, as in `runstep.toml`.
        field: pydantic's description of it.
        secret: whether its value is never shown.
        from_file: whether a key with `_file` behind it may name a file that holds the value.
    """

    key: str
    field: FieldInfo
    secret: bool
    from_file: bool

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable(self.key)

    @property
    def is_credential(self) -> bool:
        """Whether a wrong value is not shown either: it may be a password that was meant for the setting beside it."""
        return self.secret or self.key in _BESIDE or any(isinstance(mark, Rotates) for mark in self.field.metadata)

    @property
    def default(self) -> Any:
        """What holds when no source gives a value; where it follows others, what it is while these are not given."""
        return self.field.get_default(call_default_factory=True, validated_data={})


def variable(key: str) -> str:
    """Return the environment variable of a dotted key."""
    return PREFIX + key.replace(".", "__").upper()


@cache
def all_names() -> Mapping[str, Name]:
    """Return every setting by its dotted key, in the order of the code."""
    names: dict[str, Name] = {}
    for outer, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            fields = field.annotation.model_fields
            names |= {f"{outer}.{inner}": _name(outer, inner, fields) for inner in fields}
        else:
            names[outer] = Name(outer, field, secret=False, from_file=False)
    return names


@cache
def file_keys() -> Mapping[str, str]:
    """Return, for each key that names a file holding a value (`clickhouse.password_file`), the key of that value."""
    return {name.key + FILE: name.key for name in all_names().values() if name.from_file}


@cache
def sections() -> frozenset[str]:
    """Return the names of the sections."""
    return frozenset(key.partition(".")[0] for key in all_names() if "." in key)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the known name closest to a typo, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def _name(section: str, name: str, fields: Mapping[str, FieldInfo]) -> Name:
    secret = _holds(fields[name].annotation, SecretStr)
    from_file = (secret or name in _USERNAMES) and name + FILE not in fields
    return Name(f"{section}.{name}", fields[name], secret=secret, from_file=from_file)


def _holds(annotation: Any, wanted: type) -> bool:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return any(_holds(part, wanted) for part in typing.get_args(annotation))
    return annotation is wanted


def settings_table() -> str:
    """Return a Markdown table: name in TOML, environment variable, type, default, description."""
    head = "| `runstep.toml` | environment | type | default | what it does |\n|---|---|---|---|---|"
    return "\n".join((head, *(_row(name) for name in all_names().values())))


def _row(name: Name) -> str:
    description = (name.field.description or "").replace("\n", " ").replace("|", "\\|")
    if name.from_file:
        description += f" Also `{name.key.rpartition('.')[2]}{FILE}`."
    cells = (f"`{name.key}`", f"`{name.variable}`", _type_words(name.field.annotation), _default(name), description)
    return f"| {' | '.join(cells)} |"


def _type_words(annotation: Any) -> str:
    """Return a type in the words of a user."""
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return _type_words(next(part for part in typing.get_args(annotation) if part is not types.NoneType))
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
