"""The details of a step in the form of the REST wire, and their structure without the bodies.

Owns the closed lists of keys: which camelCase keys of the JavaScript SDKs are structure and become snake_case, which
values belong to the user and are never touched, which keys are kept when bodies are not.
"""

from typing import Any, Final

_SNAKE: Final = {
    "messageCreation": "message_creation",
    "messageId": "message_id",
    "toolCalls": "tool_calls",
    "toolCallId": "tool_call_id",
    "codeInterpreter": "code_interpreter",
    "fileSearch": "file_search",
    "fileId": "file_id",
    "fileName": "file_name",
    "rankingOptions": "ranking_options",
    "scoreThreshold": "score_threshold",
    "serverLabel": "server_label",
    "lastStepResult": "last_step_result",
    "currentState": "current_state",
    "nextStep": "next_step",
    "runId": "run_id",
    "threadId": "thread_id",
    "assistantId": "assistant_id",
    "azureAiSearch": "azure_ai_search",
    "azureAISearch": "azure_ai_search",
    "azureFunction": "azure_function",
    "bingGrounding": "bing_grounding",
    "bingCustomSearch": "bing_custom_search",
    "browserAutomation": "browser_automation",
    "computerUsePreview": "computer_use_preview",
    "connectedAgent": "connected_agent",
    "deepResearch": "deep_research",
    "fabricDataagent": "fabric_dataagent",
    "fabricDataAgent": "fabric_dataagent",
    "sharepointGrounding": "sharepoint_grounding",
    "openApi": "openapi",
    "quarkSearch": "quark_search",
    "pluginName": "plugin_name",
}
_USERS: Final = frozenset({"arguments", "args", "attributes", "input", "metadata", "output", "parameters", "tools"})
_ARTEFACTS: Final[dict[object, tuple[str, object]]] = {
    "tool_calls": ("message_creation", {}),
    "message_creation": ("tool_calls", []),
}

_NO_ARTEFACT: Final[tuple[str, object]] = ("", None)

_KEPT: Final = frozenset(
    {
        "assistant_id",
        "file_id",
        "file_name",
        "id",
        "index",
        "message_id",
        "name",
        "ranker",
        "run_id",
        "score",
        "score_threshold",
        "server_label",
        "status",
        "thread_id",
        "tool_call_id",
        "type",
    }
)
_BODIES: Final = _USERS | {"content", "logs", "results", "steps", "text"}
_CONTAINERS: Final = (
    frozenset({"activities", "function", "image", "mcp", "openapi", "outputs", "retrieval"})
    | frozenset(_SNAKE.values())
) - _KEPT
_SCALARS: Final = (str, int, float, bool)
_KINDS: Final = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array"}


def is_camel_case(details: dict[str, Any]) -> bool:
    """Return whether the details were written by one of the JavaScript SDKs."""
    return "toolCalls" in details or "messageCreation" in details


def to_wire_form(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details with snake_case keys and without the empty twin that an SDK has put beside the real one."""
    wire: dict[str, Any] = _snake(details)
    kind = wire.get("type")
    twin, empty = _ARTEFACTS.get(kind if isinstance(kind, str) else "", _NO_ARTEFACT)
    if twin in wire and wire[twin] == empty:
        del wire[twin]
    return wire


def _snake(value: Any) -> Any:
    if type(value) is list:
        return [_snake(item) for item in value]
    if type(value) is not dict:
        return value
    fields: dict[str, Any] = value
    wire: dict[str, Any] = {}
    for key, item in fields.items():
        name = _SNAKE.get(key, key)
        if not wire.get(name):  # where both spellings are there, the one that says something wins
            wire[name] = item if name in _USERS else _snake(item)
    return wire


def structure_of(details: object) -> Any:
    """Return the details with every body replaced by its kind and length, such as `{"omitted":"string","length":24}`.

    Types, ids, names and scores are kept. What is not known is a body. The length is in characters, items or keys;
    null, numbers and truth values have none.
    """
    if type(details) is not dict:
        return omitted(details)
    return {key: _structure(key, value, str(details.get("type"))) for key, value in details.items()}


def _structure(key: str, value: Any, kind: str) -> Any:
    if key in _KEPT and (value is None or type(value) in _SCALARS):
        return value
    if key in _BODIES or not (key in _CONTAINERS or key == kind):
        return omitted(value)
    if type(value) is list:
        return [structure_of(item) for item in value]
    return structure_of(value)


def omitted(value: object) -> Any:
    """Return what stands in the place of a body that is not kept."""
    if value is None:
        return None
    shape: dict[str, Any] = {"omitted": _KINDS.get(type(value), "object")}
    if isinstance(value, (str, list, dict)):
        shape["length"] = len(value)
    return shape
