"""The shape of a payload, without what it says: whether two payloads are of the same kind, and what is called what.

Owns what counts as the same shape. A recorded payload and the example that stands for it have the same fields in the
same order, with values of the same kind: so the example's expected row is the recorded one's, but for names, times and
numbers.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Shape: TypeAlias = Any
"""JSON again, with a word in place of each text and number."""

_SHALLOW: Final = ("thread", "thread.run", "thread.message")
"""Objects that share a stream with run steps: only the name and the status of them matter."""

_KEPT_TEXTS: Final = ("type", "object", "event", "status", "role", "code")
_is_time: Final = re.compile(r"[+-]?\d{4,6}-\d\d-\d\dT").match
_MIN_MILLISECONDS: Final = 1e11


class Frame(NamedTuple):
    """A run step, or what stands in its place in a page or stream; `event` is its stream event, '' without one."""

    event: str
    sent: Any


def frames(value: bytes) -> list[Frame]:
    """Return what a record holds, without envelopes; the end of a stream is None."""
    text = value.decode()
    if not text.startswith("{"):
        return [Frame(event, _parsed(data)) for event, data in _stream(text)]
    whole = json.loads(text)
    inner = whole.get("data", whole)
    if isinstance(inner, list):
        return [Frame("", one) for one in inner]
    return [Frame(whole.get("event", ""), inner)]


def shape_of(value: bytes) -> str:
    """Return the shape of a record as text."""
    text = value.decode()
    if text.startswith("{"):
        return json.dumps(shape(json.loads(text)))
    found = [[event, data.startswith(" "), shape(_parsed(data))] for event, data in _stream(text)]
    return json.dumps(["\n\n" in text, _distinct(found)])


def shape(value: Any, field: str = "") -> Shape:
    """Return the shape of a value in a field; equal elements of a list count once."""
    if isinstance(value, dict):
        if value.get("object") in _SHALLOW:
            return {name: value[name] for name in ("object", "status") if name in value}
        if field == "metadata":
            return sorted({json.dumps(shape(one)) for one in value.values()})
        return {name: shape(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return _distinct([shape(one, field) for one in value])
    return _kind_of_text(value, field) if isinstance(value, str) else _kind_of_number(value)


def renaming(example: Any, other: Any) -> dict[Any, Any]:
    """Return what each text and fraction of an example is in another payload of its shape, where that is one thing."""
    pairs: list[tuple[Any, Any]] = []
    _pair(example, other, pairs)
    names: dict[Any, set[Any]] = {}
    for name, other_name in pairs:
        names.setdefault(name, set()).add(other_name)
    return {name: found.pop() for name, found in names.items() if len(found) == 1}


def renamed(value: Any, names: Mapping[Any, Any]) -> Any:
    """Return JSON with its texts and fractions under other names."""
    if isinstance(value, dict):
        return {names.get(name, name): renamed(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str | float) else value


def _stream(text: str) -> list[tuple[str, str]]:
    found, event = [], ""
    for line in text.split("\n"):
        if line.startswith("event:"):
            event = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            found.append((event, line.removeprefix("data:")))
    return found


def _parsed(data: str) -> Any:
    return None if data.strip() == "[DONE]" else json.loads(data)


def _distinct(values: list[Any]) -> list[Any]:
    return [one for position, one in enumerate(values) if one not in values[:position]]


def _kind_of_text(text: str, field: str) -> str:
    if not text or field in _KEPT_TEXTS:
        return text
    if not _is_time(text):
        return "text"
    if text.startswith(("1969", "1970-01-01")):
        return "time that is not set"
    return "time to repair" if text.startswith(("+", "1970")) else "time"


def _kind_of_number(value: float | None) -> Shape:
    """Return null, true and false as they are, and a number that may mean "not set"."""
    if value is None or isinstance(value, bool) or value in {0, -1}:
        return value
    if isinstance(value, float):
        return "fraction"
    return "milliseconds" if value >= _MIN_MILLISECONDS else "number"


def _pair(example: Any, other: Any, pairs: list[tuple[Any, Any]]) -> None:
    if isinstance(example, dict):
        for (name, value), (other_name, other_value) in zip(example.items(), other.items(), strict=True):
            pairs.append((name, other_name))
            _pair(value, other_value, pairs)
    elif isinstance(example, list):
        for value, other_value in zip(example, other, strict=False):
            _pair(value, other_value, pairs)
    elif isinstance(example, str | float):
        pairs.append((example, other))
