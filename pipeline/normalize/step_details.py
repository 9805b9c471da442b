"""What a step did: its message or its tool calls, and the text of `step_details` that is stored.

Owns which part of the details becomes which column, and how much of them is kept. The handler is chosen by `type`,
never by which keys are there: SDKs add empty and null ones. The details of the JavaScript SDKs are brought to the form
of the REST wire first (`details_form`).
"""

from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from pipeline.normalize.details_form import is_camel_case, omitted, structure_of, to_wire_form
from pipeline.normalize.json_text import json_text
from pipeline.normalize.rules import Rules, takes
from pipeline.redaction import redact


class StepDetails(NamedTuple):
    """What is stored of `step_details`; the three lists are parallel, an entry for each of the first tool calls.

    Attributes:
        kind: `step_details.type`, '' where there is none.
        message_id: of a message_creation step, redacted as the types, names and ids of the calls are.
        tool_types: types of the tool calls, '' where a call has none.
        tool_names: the function's or MCP tool's own name, else the type.
        tool_call_ids: ids of the tool calls, '' where a call has none.
        text: the details as JSON in the form of the REST wire, redacted; '' where nothing is kept.
        tool_calls: how many there are.
    """

    kind: str
    message_id: str
    tool_types: list[str]
    tool_names: list[str]
    tool_call_ids: list[str]
    text: str
    tool_calls: int = 0


MAX_TOOL_CALLS: Final = 1_000
"""Tool calls that have an entry in the lists; the text still holds all of them."""

MAX_TOOL_CALL_COUNT: Final = 65_535
"""As many as `tool_call_count`, a UInt16, can count."""

_MAX_NAME_CHARS: Final = 256
_NO_CALLS: Final[list[str]] = []
"""Shared by all rows without calls, and never changed: so the garbage collector has fewer objects to walk."""

_NOTHING_CALLED: Final = '{"type":"tool_calls","tool_calls":[]}'
"""The details of about every third event, which need no look for secrets."""

_OWN_NAMES: Final = frozenset({"function", "mcp", "tool_call", ""})


def read_details(details: object, rules: Rules, anomalies: list[str]) -> StepDetails:
    """Return what the details of a step say. Never raises.

    Args:
        details: the parsed `step_details`, in snake_case or in the camelCase of the JavaScript SDKs.
        rules: of `content`, `full` keeps bodies; `structure` puts `{"omitted": "string", "length": 24}` in their place
            and keeps types, ids and names; `none` keeps no text.
        anomalies: gets `unreadable_details`, `id_repaired`, `text_truncated`, `text_not_searched`, each at most once.
    """
    if details is None:
        return StepDetails("", "", _NO_CALLS, _NO_CALLS, _NO_CALLS, "")
    if type(details) is not dict:
        return _unreadable(details, rules, anomalies)
    if len(details) == 2 and (plain := _plain_message(details, rules.content)) is not None:  # noqa: PLR2004 - type and body
        return plain
    if is_camel_case(details):
        details = to_wire_form(details)
    get = details.get
    kind = _name(get("type"), anomalies)
    message_id = ""
    number = 0
    types = names = ids = _NO_CALLS
    if kind == "tool_calls" or not kind:
        calls = get("tool_calls")
        if calls and type(calls) is list:
            number = min(len(calls), MAX_TOOL_CALL_COUNT)
            types, names, ids = _tool_calls(calls, anomalies)
    if kind == "message_creation" or (not kind and not types):
        message_id = _message_id(get("message_creation"), anomalies)
    found = StepDetails(kind, message_id, types, names, ids, _text(details, rules.content), number)
    return _redacted(found, details, rules, anomalies)


def _redacted(found: StepDetails, details: object, rules: Rules, anomalies: list[str]) -> StepDetails:
    """Return the details without secrets. Names and ids are in the text, too: where it has none, they have none."""
    if found.text == _NOTHING_CALLED:
        return found
    text = _searched(found.text, details, rules, anomalies)
    if text == found.text and rules.content != "none":
        return found
    types, names, ids = (
        [redact(name) for name in names] for names in (found.tool_types, found.tool_names, found.tool_call_ids)
    )
    return StepDetails(redact(found.kind), redact(found.message_id), types, names, ids, text, found.tool_calls)


def _searched(text: str, details: object, rules: Rules, anomalies: list[str]) -> str:
    """Return the text without secrets; what stands for it where the record's share of the work is used up."""
    if not text:
        return ""
    return redact(text) if takes(rules.share, len(text), anomalies) else json_text(omitted(details))


def _plain_message(details: dict[str, Any], content: str) -> StepDetails | None:
    """Return the details of a step that made a message, which is about every second step; None for anything else.

    Such details say nothing but the message's id, so their text needs neither a serializer nor redaction.
    """
    message = details.get("message_creation")
    if type(message) is not dict or len(message) != 1 or details.get("type") != "message_creation":
        return None
    message_id = message.get("message_id")
    if type(message_id) is not str or not message_id.isidentifier() or len(message_id) > _MAX_NAME_CHARS:
        return None
    if not message_id.startswith("msg_"):
        return None  # it may be anything, also a key
    text = (
        f'{{"type":"message_creation","message_creation":{{"message_id":"{message_id}"}}}}' if content != "none" else ""
    )
    return StepDetails("message_creation", message_id, _NO_CALLS, _NO_CALLS, _NO_CALLS, text)


def _unreadable(details: object, rules: Rules, anomalies: list[str]) -> StepDetails:
    _note("unreadable_details", anomalies)
    text = _searched(_text(details, rules.content), details, rules, anomalies)
    return StepDetails("", "", _NO_CALLS, _NO_CALLS, _NO_CALLS, text)


def _text(details: object, content: str) -> str:
    if content == "full":
        try:
            return to_json(details, inf_nan_mode="strings").decode()
        except ValueError:
            return json_text(details)
    return "" if content == "none" else json_text(structure_of(details))


def _tool_calls(calls: list[Any], anomalies: list[str]) -> tuple[list[str], list[str], list[str]]:
    if len(calls) > MAX_TOOL_CALLS:
        _note("text_truncated", anomalies)
        calls = calls[:MAX_TOOL_CALLS]
    types: list[str] = []
    names: list[str] = []
    ids: list[str] = []
    for call in calls:
        if type(call) is not dict:
            call = {}  # noqa: PLW2901 - it still counts as a call, of which nothing is known
        get = call.get
        kind = _name(get("type"), anomalies)
        types.append(kind)
        names.append(_tool_name(call, kind, anomalies) if kind in _OWN_NAMES else kind)
        ids.append(_name(get("id"), anomalies))
    return types, names, ids


def _tool_name(call: dict[str, Any], kind: str, anomalies: list[str]) -> str:
    """Return a tool's own name: nested by OpenAI, flat for MCP and LangChain, under a key of its own by DashScope.

    A call without a type is read as a function's.
    """
    payload = call.get(kind or "function")
    if type(payload) is not dict:
        payload = call.get("plugin_name")
    name = payload.get("name") if type(payload) is dict else None
    return _name(name or call.get("name"), anomalies) or kind


def _message_id(creation: object, anomalies: list[str]) -> str:
    if type(creation) is not dict:
        return ""
    message_id = creation.get("message_id")
    if message_id is not None and type(message_id) is not str:
        _note("id_repaired", anomalies)
        message_id = str(message_id) if type(message_id) is int else ""
    return _name(message_id, anomalies)


def _name(value: Any, anomalies: list[str]) -> str:
    if type(value) is not str:
        return ""
    if len(value) > _MAX_NAME_CHARS:
        _note("text_truncated", anomalies)
        return value[:_MAX_NAME_CHARS]
    return value


def _note(anomaly: str, anomalies: list[str]) -> None:
    if anomaly not in anomalies:
        anomalies.append(anomaly)
