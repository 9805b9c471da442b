"""From the bytes of a record to a run-step event, or to why there is none.

Owns the sniffing of the wire's form and the sorting of what is not a run step. Pure: no IO, no clock, no log.
The common forms take one validator call: `event.py` reads what has nothing odd, and pydantic judges the rest. A value
that it rejects is examined again, slowly, so that each record gets its reason. The forms come from recorded traffic of
the APIs and their compatibles; see `schemas/README.md`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from pipeline.normalize.bounded_json import MAX_NODES, RecordJson
from pipeline.normalize.event import RunStepEvent, plain_event
from pipeline.records import Reason, Stage, Unstored
from schemas.vocabulary import TERMINAL_STATUSES
from schemas.wire import KNOWN_FIELDS, MAX_ID, CamelRunStep, Envelope, RunStep, Step

MAX_STEPS: Final = 1_000
"""In one record; the APIs give at most 100 a page."""

_NESTING: Final = 3
"""Envelopes within envelopes (LibreChat sends two)."""

_STEP_EVENT: Final = "thread.run.step."
_CONTROL_EVENTS: Final = frozenset({"done", "error", "keepalive", "ping"})
_RUN_FIELDS: Final = ("instructions", "tools", "model", "required_action")
_BOM: Final = b"\xef\xbb\xbf"


Decoded: TypeAlias = RunStepEvent | Unstored

_snake = TypeAdapter(RunStep).validator
_camel = TypeAdapter(CamelRunStep).validator
_envelope = TypeAdapter(Envelope).validator

_Validators: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""By wire form, for JSON or for what was parsed of it."""

_JSON: Final[_Validators] = {
    "snake_case": _snake.validate_json,
    "camel_case": _camel.validate_json,
    "envelope": _envelope.validate_json,
}
_PARSED: Final[_Validators] = {
    "snake_case": _snake.validate_python,
    "camel_case": _camel.validate_python,
    "envelope": _envelope.validate_python,
}

_LARGE: Final = 65_536
"""Bytes from which on a value is parsed before it is validated: a validator that rejects JSON makes objects of it
twice, for its error and for itself, and the parser makes them a third time."""


def decode(value: bytes | None, max_bytes: int, max_nodes: int = MAX_NODES) -> Decoded | list[Decoded]:
    """Return the event in a record's value; a list where the value holds a page of steps or several stream frames."""
    if not value:
        return Unstored(Reason.TOMBSTONE if value is None else Reason.EMPTY_VALUE)
    size = len(value)
    if size > max_bytes:
        return _rejected(Reason.TOO_LARGE, f"{size} bytes, at most {max_bytes} are read")
    form = _form_of(value) if size < _LARGE else None
    if form:
        return plain_event(value, form) or _common(value, form, _JSON) or _examine(value, max_nodes)
    return _examine(value, max_nodes)


def _form_of(value: bytes) -> str | None:
    """Return the common form that a value looks like: if it is in any of them, then in this one."""
    if b'"event"' in value[:24]:
        return None if b'delta"' in value[:64] else "envelope"
    return "camel_case" if b'"runId"' in value and b'"run_id"' not in value else "snake_case"


def _common(content: Any, form: str, validators: _Validators) -> RunStepEvent | None:
    """Return the event of a value in a common form, None if it is not; `content` is its JSON, or parsed of it."""
    try:
        found = validators[form](content)
    except ValidationError:
        return None
    return _event(found["data"], form, found["event"]) if form == "envelope" else _event(found, form)


def _event(fields: dict[str, Any], dialect: str, name: str = "", anomalies: tuple[str, ...] = ()) -> RunStepEvent:
    """Return the event of what a validator has made, which is used up."""
    if KNOWN_FIELDS.issuperset(fields):
        return RunStepEvent(Step(**fields), dialect, name, anomalies)
    unknown = {key: value for key, value in fields.items() if key not in KNOWN_FIELDS}
    for key in unknown:
        del fields[key]
    return RunStepEvent(Step(**fields), dialect, name, anomalies, unknown)


def _examine(value: bytes, max_nodes: int) -> Decoded | list[Decoded]:
    """Examine what is large or of no common form: other forms, foreign objects, broken input."""
    text = value.removeprefix(_BOM).strip()
    if not text:
        return Unstored(Reason.EMPTY_VALUE)
    if text == b"[DONE]":
        return Unstored(Reason.STREAM_CONTROL)
    json = RecordJson(len(value), max_nodes)
    if text.startswith((b"event:", b"data:")):
        return _frames(text, json)
    parsed = json.parse(text)
    if isinstance(parsed, Unstored):
        return parsed
    # What is small, or begins with a mark of its byte order, was not found common as it stands.
    form = _form_of(value) if len(value) >= _LARGE and not value.startswith(_BOM) else None
    common = _common(parsed, form, _PARSED) if form else None
    return common or _classify(parsed, "", "", _NESTING, json)


def _frames(text: bytes, json: RecordJson) -> Decoded | list[Decoded]:
    """Read server-sent events as text; frames without blank lines between them occur, so `event:` also parts them."""
    decoded: list[Decoded] = []
    name = ""
    data: list[bytes] = []
    lines = json.lines(text)
    if isinstance(lines, Unstored):
        return lines
    for line in [*lines, b"event:"]:
        field, _, content = line.partition(b":")
        if field == b"event" or not line:
            if data:
                decoded.append(_frame(name, b"\n".join(data), json))
                if len(decoded) > MAX_STEPS:
                    return _rejected(Reason.TOO_MANY_STEPS, f"more than {MAX_STEPS} frames in one record")
            name, data = content.strip().decode(errors="replace"), []
        elif field == b"data":
            data.append(content.removeprefix(b" "))
    if not decoded:
        return Unstored(Reason.STREAM_CONTROL)
    return decoded[0] if len(decoded) == 1 else decoded


def _frame(name: str, data: bytes, json: RecordJson) -> Decoded:
    if not data.strip() or data.strip() == b"[DONE]":
        return Unstored(Reason.STREAM_CONTROL)
    parsed = json.parse(data)
    return parsed if isinstance(parsed, Unstored) else _one(parsed, name, "envelope")


def _classify(value: Any, name: str, dialect: str, nesting: int, json: RecordJson) -> Decoded | list[Decoded]:
    """Unwrap envelopes and pages."""
    if isinstance(value, dict) and nesting and isinstance(value.get("event"), str) and "data" in value:
        inner = value["data"]
        if isinstance(inner, str):
            inner = json.parse(inner.encode()) if inner.strip() not in {"", "[DONE]"} else None
        if isinstance(inner, Unstored):
            return inner
        if inner is None:
            return Unstored(Reason.STREAM_CONTROL)
        return _classify(inner, value["event"], "envelope", nesting - 1, json)
    if isinstance(value, dict) and isinstance(value.get("data"), list) and "run_id" not in value:
        return _page(value["data"], name, dialect)
    if isinstance(value, dict) and isinstance(value.get("event"), str):
        name = name or value["event"]
    return _one(value, name, dialect)


def _page(items: list[Any], name: str, dialect: str) -> Decoded | list[Decoded]:
    if not items:
        return Unstored(Reason.EMPTY_LIST)
    if len(items) > MAX_STEPS:
        return _rejected(Reason.TOO_MANY_STEPS, f"{len(items)} steps in one record, at most {MAX_STEPS} are read")
    decoded = [_one(item, name, dialect) for item in items]
    return decoded[0] if len(decoded) == 1 else decoded


def _one(value: Any, name: str, dialect: str) -> Decoded:
    """Decide on a single object: a run step, a known object that is none, or a rejection."""
    if not isinstance(value, dict):
        return _rejected(Reason.NOT_AN_OBJECT, f"a JSON {_json_type(value)}, not an object")
    ids = _ids(value)
    foreign = _foreign(value, name)
    if foreign is not None:
        return Unstored(foreign, None, "", *ids)
    camel = "runId" in value or "stepDetails" in value
    step, anomalies = _with_text_ids(value)
    try:
        validated = (_camel if camel else _snake).validate_python(step)
    except ValidationError as error:
        return Unstored(_identity_reason(error), Stage.NORMALIZE, _first_problem(error), *ids)
    return _event(validated, dialect or ("camel_case" if camel else "snake_case"), name, anomalies)


def _foreign(value: Mapping[str, Any], name: str) -> Reason | None:
    """Return why an object that is well known is not a run step, or None for a step and for an unknown object."""
    kind = value.get("object")
    if name.endswith("delta") or (isinstance(kind, str) and kind.endswith(".delta")):
        return Reason.DELTA
    if name in _CONTROL_EVENTS:
        return Reason.STREAM_CONTROL
    if isinstance(kind, str) and kind not in {"", "thread.run.step"}:
        return Reason.NOT_A_RUN_STEP
    if name.startswith("thread.") and not name.startswith(_STEP_EVENT) and kind != "thread.run.step":
        return Reason.NOT_A_RUN_STEP
    if not kind and "run_id" not in value and "id" in value and any(field in value for field in _RUN_FIELDS):
        return Reason.NOT_A_RUN_STEP
    return None


def _with_text_ids(value: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make text of what should be text but only helps to find a step; the step's own identity is never touched."""
    wrong = [
        key
        for key in ("thread_id", "threadId", "assistant_id", "assistantId", "type", "status")
        if not isinstance(value.get(key), str | None)
        or (len(value.get(key) or "") > MAX_ID and key not in {"type", "status"})
    ]
    if not wrong:
        return value, ()
    return value | {key: _as_text(value[key]) for key in wrong}, ("id_repaired",)


def _as_text(value: Any) -> str:
    return str(value)[:MAX_ID] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _ids(value: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return step, run and thread id as far as they can be read, for the ledger."""
    pairs = (("id", "id"), ("run_id", "runId"), ("thread_id", "threadId"))
    found = (value.get(snake, value.get(camel)) for snake, camel in pairs)
    step_id, run_id, thread_id = (text[:MAX_ID] if isinstance(text, str) else "" for text in found)
    return step_id, run_id, thread_id


_IDENTITY: Final = {
    "id": Reason.MISSING_STEP_ID,
    "run_id": Reason.MISSING_RUN_ID,
    "runId": Reason.MISSING_RUN_ID,
    "created_at": Reason.MISSING_CREATED_AT,
    "createdAt": Reason.MISSING_CREATED_AT,
}


def _identity_reason(error: ValidationError) -> Reason:
    problems = {str(problem["loc"][0]) for problem in error.errors(include_url=False, include_input=False)}
    return next((reason for field, reason in _IDENTITY.items() if field in problems), Reason.NOT_AN_OBJECT)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _json_type(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _rejected(reason: Reason, detail: str) -> Unstored:
    return Unstored(reason, Stage.DECODE, detail)


def announced_status(name: str) -> str:
    """Return the terminal status that an event's name announces, '' if none."""
    status = name.removeprefix(_STEP_EVENT)
    return status if status is not name and status in TERMINAL_STATUSES else ""
