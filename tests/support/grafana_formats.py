"""What Grafana makes of `${variable:format}`, so that tests see the SQL that ClickHouse gets.

Behaves as the format registry of @grafana/scenes and the ClickHouse plugin do, in the same order: the plugin decides
about `$__conditionalAll`, Grafana fills in the variables in one pass, and the plugin's backend expands its macros, also
inside of what was filled in. A format that is not known here is an error.
"""

import html
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Value: TypeAlias = str | list[str]
"""Of a text box, or of a list."""

_VARIABLE: Final = re.compile(
    r"\$(?P<plain>\w+)|\$\{(?P<name>\w+)(?:\.(?P<path>[^:}]+))?(?::(?P<format>[^}]+))?\}",
)
_CONDITION: Final = "$__conditionalAll("


def percent_encoded(text: str) -> str:
    """Return the text as `encodeURIComponent` with `!'()*` encoded, too."""
    return urllib.parse.quote(text, safe="")


def formatted(value: Value, form: str, name: str = "") -> str:
    """Return a value in a format, which may have arguments behind colons."""
    kind, *arguments = form.split(":")
    if kind == "queryparam":
        return "&".join(f"var-{name}={percent_encoded(one)}" for one in _each(value))
    if kind == "customqueryparam":
        key, prefix = (*map(percent_encoded, arguments), "", "")[:2]
        return "&".join(f"{key or name}={prefix}{percent_encoded(one)}" for one in _each(value))
    return _FORMATS[kind](value)


def filled_in(text: str, value: Callable[[str], Value | None]) -> str:
    """Return a text with its variables filled in, once: what is filled in is not looked at again.

    `value` gives the value of `name` or `name.path`, and None for what is no variable, which stays.
    """

    def one(found: re.Match[str]) -> str:
        name = found["plain"] or found["name"]
        known = value(f"{name}.{found['path']}" if found["path"] else name)
        return found[0] if known is None else formatted(known, found["format"] or "glob", name)

    return _VARIABLE.sub(one, text)


def without_all(sql: str, values: Mapping[str, Value]) -> str:
    """Return the statement without the conditions whose variable is on All or an empty text; the last one first."""
    while (at := sql.rfind(_CONDITION)) >= 0:
        condition, variable, end = _arguments(sql, at + len(_CONDITION))
        chosen = values.get(variable.strip().removeprefix("$"), "")
        sql = sql[:at] + ("1=1" if ",".join(_each(chosen)) in ("", "$__all") else condition) + sql[end:]
    return sql


def with_macros(sql: str, start: int, end: int) -> str:
    """Return the statement with the backend's macro for the time range expanded, wherever its name stands."""
    return re.sub(
        r"\$__timeFilter\b(?:\((.*?)\))?",
        rf"\1 >= toDateTime({start}) AND \1 <= toDateTime({end})",
        sql,
        flags=re.DOTALL,
    )


def _arguments(sql: str, start: int) -> tuple[str, str, int]:
    """Return both arguments of a macro, and where it ends. Brackets count inside of literals, too, as in the plugin."""
    depth, commas = 1, []
    for at in range(start, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if sql[at] == "," and depth == 1:
            commas.append(at)
        if depth == 0:
            (comma,) = commas
            return sql[start:comma], sql[comma + 1 : at], at + 1
    raise ValueError(f"the macro has no end: {sql[start:]}")


def _each(value: Value) -> list[str]:
    return [value] if isinstance(value, str) else value


def _quoted(value: Value, quote: str, escapes: Mapping[str, str]) -> str:
    texts = ["".join(escapes.get(sign, sign) for sign in one) for one in _each(value)]
    return ",".join(f"{quote}{text}{quote}" for text in texts)


def _braced(value: Value) -> str:
    return value if isinstance(value, str) else "{" + ",".join(value) + "}"


_FORMATS: Final[Mapping[str, Callable[[Value], str]]] = {
    "raw": lambda value: ",".join(_each(value)),
    "csv": lambda value: ",".join(_each(value)),
    "pipe": lambda value: "|".join(_each(value)),
    "json": lambda value: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")),
    "html": lambda value: html.escape(", ".join(_each(value))),
    "glob": lambda value: _braced(value) if len(value) > 1 else "".join(_each(value)),
    "singlequote": lambda value: _quoted(value, "'", {"'": "\\'"}),
    "doublequote": lambda value: _quoted(value, '"', {'"': '\\"'}),
    "sqlstring": lambda value: _quoted(value, "'", {"'": "''", '"': '\\"'}),
    "percentencode": lambda value: percent_encoded(_braced(value)),
}
