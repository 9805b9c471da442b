"""Plants credentials in run steps: which kinds there are, and in which places of an event.

Owns the attacker's side. It knows nothing of the patterns of `pipeline.redaction`: the values are drawn from the
alphabets that vendors use, always the same for a kind.
"""

import json
import random
import re
import string
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from tests.support.events import completed

_ALPHABETS: Final = {
    "a": string.ascii_lowercase,
    "A": string.ascii_uppercase,
    "0": string.digits,
    "x": "0123456789abcdef",
}
_SEEN_CHARS: Final = 6
"""A shorter part of a credential says nothing: the groups of a GUID."""


class Planted(NamedTuple):
    """A credential: its kind, its text, and the parts of it that must not be seen."""

    kind: str
    text: str
    drawn: tuple[str, ...]


def planted() -> Iterator[Planted]:
    """Yield one credential of each kind of `planted_secrets.toml`."""
    groups = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    for group, kinds in groups.items():
        for kind, template in kinds.items():
            yield _filled(f"{group}.{kind}", template)


def _filled(kind: str, template: str) -> Planted:
    draw = random.Random(kind)
    drawn: list[str] = []

    def fill(found: re.Match[str]) -> str:
        signs = "".join(_ALPHABETS.get(sign, sign) for sign in found[1])
        drawn.append("".join(draw.choices(signs, k=int(found[2]))))
        return drawn[-1]

    text = re.sub(r"\{(\S+) (\d+)\}", fill, template)
    return Planted(kind, text, tuple(part for part in drawn if len(part) >= _SEEN_CHARS))


def _error(message: str) -> dict[str, Any]:
    return completed(status="failed", last_error={"code": "server_error", "message": message})


def _call(**fields: Any) -> dict[str, Any]:
    function = {"name": "search", "arguments": "{}", "output": None} | fields
    return _calls(function)


def _calls(function: dict[str, Any], call_id: str = "call_1") -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": function}
    return completed(type="tool_calls", step_details={"type": "tool_calls", "tool_calls": [call]})


def _nested(text: str, depth: int) -> str:
    for _ in range(depth):
        text = json.dumps({"log": text})
    return text


PLACES: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "prose of an error": lambda text: _error(f"The call failed with {text} while the tool ran."),
    "an error in Chinese": lambda text: _error(f"提供的密钥{text}无效"),
    "an error that is JSON": lambda text: _error(json.dumps({"error": {"detail": text}})),
    "the code of an error": lambda text: completed(status="failed", last_error={"code": text, "message": "x"}),
    "arguments": lambda text: _call(arguments=json.dumps({"query": text})),
    "output": lambda text: _call(output=f"line one\n{text}\nline three"),
    "output in a log line": lambda text: _call(output=f"2025-06-01 12:00:00 ERROR {text}"),
    "output in HTML": lambda text: _call(output=f"<td>{text}</td>"),
    "output in Markdown": lambda text: _call(output=f"use `{text}` here"),
    "output of Python": lambda text: _call(output=repr({"line": text})),
    "JSON in JSON in JSON": lambda text: _call(output=_nested(text, 2)),
    "JSON four levels deep": lambda text: _call(output=_nested(text, 4)),
    "encoded for a url": lambda text: _call(output=f"GET /log?line={quote(text, safe='')} 200"),
    "a value of metadata": lambda text: completed(metadata={"note": text}),
    "a key of metadata": lambda text: completed(metadata={text: "x"}),
    "an unknown field": lambda text: completed(custom={"headers": [text]}),
    "a key of an unknown field": lambda text: completed(custom={text: 1}),
    "the name of a tool": lambda text: _call(name=text),
    "the id of a tool call": lambda text: _calls({"name": "f"}, call_id=text),
    "the id of a message": lambda text: completed(
        step_details={"type": "message_creation", "message_creation": {"message_id": text}}
    ),
    "the status": lambda text: completed(status=text),
    "the type": lambda text: completed(type=text),
}
