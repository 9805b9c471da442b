"""The bytes of an event, in the dialects and with the irregularities seen on real wires.

Five flavours: `openai` (REST: `expires_at`, no `expired_at`, no `metadata`), `foundry` (the same with Azure's tools),
`specification` (what the Python SDK dumps: both `expired_at` and `expires_at`), `js_assistants` (camelCase outside,
snake_case inside, `expiresAt` a bare number among ISO strings, both detail kinds always there) and `js_agents`
(camelCase throughout, no `expiresAt`, no function output). The envelope wraps the first two.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from pipeline.tools.simulation.truth import Step

_JS_KEYS = {
    "code_interpreter": "codeInterpreter",
    "file_search": "fileSearch",
}


def step_value(step: Step, calls: Sequence[Mapping[str, Any]], flavour: str) -> bytes:
    """Return the step as that flavour's JSON text."""
    if flavour == "js_assistants":
        return to_json(_js_assistants(step, calls))
    if flavour == "js_agents":
        return to_json(_js_agents(step, calls))
    return to_json(_rest(step, calls, flavour))


def enveloped(event: str, data: bytes) -> bytes:
    """Return the server-sent event as one JSON object."""
    return b'{"event":"' + event.encode() + b'","data":' + data + b"}"


def delta_value(step_id: str, index: int, fragment: str) -> bytes:
    """Return a streamed fragment of a function call's arguments: no run, no thread, no time, no status."""
    call = {"index": index, "type": "function", "function": {"arguments": fragment}}
    details = {"type": "tool_calls", "tool_calls": [call]}
    return to_json({"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}})


def page_value(steps: Sequence[bytes], ids: Sequence[str], flavour: str) -> bytes:
    """Return a list page as `GET .../steps` answers it."""
    names = ("firstId", "lastId", "hasMore") if flavour.startswith("js_") else ("first_id", "last_id", "has_more")
    tail = to_json(dict(zip(names, (ids[0], ids[-1], False), strict=True)))
    return b'{"object":"list","data":[' + b",".join(steps) + b"]," + tail[1:]


def _stamp(step: Step, status: str) -> int | None:
    return step.ended_at // 1000 if step.ended_at is not None and step.status == status else None


def _rest(step: Step, calls: Sequence[Mapping[str, Any]], flavour: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": step.step_id,
        "object": "thread.run.step",
        "created_at": step.created_at // 1000,
        "run_id": step.run_id,
        "assistant_id": step.assistant_id,
        "thread_id": step.thread_id,
        "type": step.type,
        "status": step.status,
        "cancelled_at": _stamp(step, "cancelled"),
        "completed_at": _stamp(step, "completed"),
        "expires_at": None if step.expires_at is None else step.expires_at // 1000,
        "failed_at": _stamp(step, "failed"),
        "last_error": {"code": step.error_code, "message": step.error_message} if step.error_code else None,
        "step_details": _rest_details(step, calls),
        "usage": _rest_usage(step),
    }
    if flavour == "specification":  # the only REST flavour with metadata
        body["expired_at"] = _stamp(step, "expired")
        body["metadata"] = step.metadata or None
    elif step.status == "expired" and step.ended_at is not None:
        body["expired_at"] = step.ended_at // 1000
    return body


def _rest_details(step: Step, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if step.type == "message_creation":
        return {"type": "message_creation", "message_creation": {"message_id": step.message_id}}
    return {"type": "tool_calls", "tool_calls": calls}


def _rest_usage(step: Step) -> dict[str, Any] | None:
    if step.prompt_tokens is None:
        return None
    usage: dict[str, Any] = {
        "prompt_tokens": step.prompt_tokens,
        "completion_tokens": step.completion_tokens,
        "total_tokens": step.total_tokens,
    }
    if step.cached_tokens is not None:
        usage["prompt_token_details"] = {"cached_tokens": step.cached_tokens}
    if step.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": step.reasoning_tokens}
    return usage


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(milliseconds // 1000))


def _js_stamp(step: Step, status: str) -> str | None:
    return _iso(step.ended_at) if step.status == status else None


def _js_usage(step: Step) -> dict[str, int | None] | None:
    if step.prompt_tokens is None:
        return None
    return {
        "promptTokens": step.prompt_tokens,
        "completionTokens": step.completion_tokens,
        "totalTokens": step.total_tokens,
    }


def _js_common(step: Step) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": step.step_id,
        "object": "thread.run.step",
        "type": step.type,
        "status": step.status,
        "usage": _js_usage(step),
        "runId": step.run_id,
        "assistantId": step.assistant_id,
        "threadId": step.thread_id,
        "lastError": {"code": step.error_code, "message": step.error_message} if step.error_code else None,
        "createdAt": _iso(step.created_at),
        "completedAt": _js_stamp(step, "completed"),
        "cancelledAt": _js_stamp(step, "cancelled"),
        "failedAt": _js_stamp(step, "failed"),
    }
    if step.metadata:
        body["metadata"] = step.metadata
    return body


def _js_assistants(step: Step, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    body = _js_common(step)
    message = {"message_id": step.message_id} if step.type == "message_creation" else {}
    body["stepDetails"] = {
        "type": step.type,
        "messageCreation": message,
        "toolCalls": [_js_call(call, output=True) for call in calls],
    }
    body["expiredAt"] = _js_stamp(step, "expired")
    body["expiresAt"] = None if step.expires_at is None else step.expires_at // 1000
    return body


def _js_agents(step: Step, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    body = _js_common(step)
    if step.type == "message_creation":
        body["stepDetails"] = {"type": step.type, "messageCreation": {"messageId": step.message_id}}
    else:
        body["stepDetails"] = {"type": step.type, "toolCalls": [_js_call(call, output=False) for call in calls]}
    if step.status == "expired":
        body["expiredAt"] = _iso(step.ended_at)
    return body


def _js_call(call: Mapping[str, Any], *, output: bool) -> dict[str, Any]:
    kind = call["type"]
    if kind == "function":
        function = call["function"]
        kept = function if output else {"name": function["name"], "arguments": function["arguments"]}
        return {"type": kind, "id": call["id"], "function": kept}
    if kind == "file_search":
        return {"type": kind, "id": call["id"], "fileSearch": _js_file_search(call["file_search"])}
    return {"type": kind, "id": call["id"], _JS_KEYS[kind]: call[kind]}


def _js_file_search(search: Mapping[str, Any]) -> dict[str, Any]:
    ranking = search["ranking_options"]
    return {
        "rankingOptions": {"ranker": ranking["ranker"], "scoreThreshold": ranking["score_threshold"]},
        "results": [
            {"fileId": found["file_id"], "fileName": found["file_name"], "score": found["score"]}
            for found in search["results"]
        ],
    }
