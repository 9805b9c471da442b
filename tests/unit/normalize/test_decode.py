"""Decoding: which form is which, and a reason for everything that is no run step."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from pipeline.normalize.decode import MAX_STEPS, decode
from pipeline.normalize.event import RunStepEvent
from pipeline.records import Reason, Unstored
from tests.support.events import completed, step, wire

LIMIT = 1_000_000

CAMEL = {
    "id": "step_1",
    "object": "thread.run.step",
    "runId": "run_1",
    "threadId": "thread_1",
    "assistantId": "asst_1",
    "type": "tool_calls",
    "status": "completed",
    "createdAt": "2025-11-24T10:00:00.000Z",
    "completedAt": "2025-11-24T10:00:04.500Z",
    "stepDetails": {"type": "tool_calls", "messageCreation": {}, "toolCalls": []},
    "lastError": None,
}


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("value", "dialect", "name"),
    [
        pytest.param(wire(step()), "snake_case", "", id="REST"),
        pytest.param(wire(CAMEL), "camel_case", "", id="Azure JS SDK"),
        pytest.param(
            wire({"event": "thread.run.step.created", "data": step()}), "envelope", "thread.run.step.created", id="SSE"
        ),
        pytest.param(
            wire({"data": step(), "event": "thread.run.step.failed"}),
            "envelope",
            "thread.run.step.failed",
            id="data first",
        ),
        pytest.param(
            wire({"event": "thread.run.step.failed", "data": CAMEL}),
            "envelope",
            "thread.run.step.failed",
            id="camel inside",
        ),
        pytest.param(wire({"event": "x", "data": json.dumps(step())}), "envelope", "x", id="data as text"),
        pytest.param(
            wire({"event": "message", "data": {"event": "thread.run.step.expired", "data": step()}}),
            "envelope",
            "thread.run.step.expired",
            id="twice wrapped",
        ),
        pytest.param(
            b"event: thread.run.step.completed\ndata: " + wire(step()) + b"\n\n",
            "envelope",
            "thread.run.step.completed",
            id="SSE text",
        ),
        pytest.param(
            b"event:thread.run.step.completed\r\ndata:" + wire(step()),
            "envelope",
            "thread.run.step.completed",
            id="SSE text without blanks",
        ),
        pytest.param(b"\xef\xbb\xbf" + wire(step()), "snake_case", "", id="byte order mark"),
        pytest.param(wire(step(object="")), "snake_case", "", id="empty object name"),
        pytest.param(wire({"data": [step()], "has_more": False}), "snake_case", "", id="page of one"),
        pytest.param(wire(step(metadata={"runId": "x"})), "snake_case", "", id="camel key in metadata"),
    ],
)
def test_reads_every_form(value: bytes, dialect: str, name: str) -> None:
    event = decode(value, LIMIT)
    assert isinstance(event, RunStepEvent)
    assert (event.dialect, event.name, event.step.id, event.step.run_id) == (dialect, name, "step_1", "run_1")
    assert event.step.created_at


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, Reason.TOMBSTONE, id="tombstone"),
        pytest.param(b"", Reason.EMPTY_VALUE, id="empty"),
        pytest.param(b" \n ", Reason.EMPTY_VALUE, id="blank"),
        pytest.param(b"[DONE]", Reason.STREAM_CONTROL, id="done"),
        pytest.param(b"event: done\ndata: [DONE]\n\n", Reason.STREAM_CONTROL, id="done as text"),
        pytest.param(b"event: keepalive\ndata:\n\n", Reason.STREAM_CONTROL, id="keepalive"),
        pytest.param(wire({"event": "keepalive", "data": ""}), Reason.STREAM_CONTROL, id="keepalive as JSON"),
        pytest.param(wire({"event": "error", "data": {"error": {"message": "x"}}}), Reason.STREAM_CONTROL, id="error"),
        pytest.param(wire({"object": "list", "data": []}), Reason.EMPTY_LIST, id="empty page"),
        pytest.param(wire({"object": "thread.run.step.delta", "id": "step_1", "delta": {}}), Reason.DELTA, id="delta"),
        pytest.param(
            wire({"event": "thread.run.step.delta", "data": {"id": "step_1"}}), Reason.DELTA, id="delta event"
        ),
        pytest.param(
            wire({"event": "thread.run.step.delta", "data": step()}), Reason.DELTA, id="delta event with a whole step"
        ),
        pytest.param(
            wire({"event": "run.step.delta", "role": "assistant", "content": "{}"}), Reason.DELTA, id="watsonx"
        ),
        pytest.param(
            wire({"id": "run_1", "object": "thread.run", "status": "failed"}), Reason.NOT_A_RUN_STEP, id="run"
        ),
        pytest.param(
            wire({"id": "m", "object": "thread.message", "run_id": "r", "created_at": 1}),
            Reason.NOT_A_RUN_STEP,
            id="message",
        ),
        pytest.param(
            wire({"event": "thread.run.failed", "data": {"id": "r", "created_at": 1}}),
            Reason.NOT_A_RUN_STEP,
            id="run event",
        ),
        pytest.param(
            wire({"id": "f0", "object": "", "created_at": 1, "tools": [], "model": ""}),
            Reason.NOT_A_RUN_STEP,
            id="nameless run",
        ),
    ],
)
def test_ignores_what_is_known_to_be_no_run_step(value: bytes | None, reason: Reason) -> None:
    verdict = decode(value, LIMIT)
    assert isinstance(verdict, Unstored)
    assert (verdict.reason, verdict.stage) == (reason, None)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"{", Reason.INVALID_JSON, id="cut"),
        pytest.param(b"hello", Reason.INVALID_JSON, id="text"),
        pytest.param(b"\x00\x00\x00\x00\x01binary", Reason.INVALID_JSON, id="avro"),
        pytest.param(b'{"id":"\xff"}', Reason.NOT_UTF8, id="invalid UTF-8"),
        pytest.param(wire(step()).replace(b"step_1", b"\\ud800"), Reason.INVALID_JSON, id="lone surrogate"),
        pytest.param(nested(10_000), Reason.TOO_DEEP, id="10,000 deep"),
        pytest.param(b"[" * 10_000, Reason.TOO_DEEP, id="10,000 brackets"),
        pytest.param(b"x" * (LIMIT + 1), Reason.TOO_LARGE, id="too large"),
        pytest.param(b"[1]", Reason.NOT_AN_OBJECT, id="array"),
        pytest.param(b"null", Reason.NOT_AN_OBJECT, id="null"),
        pytest.param(b"NaN", Reason.NOT_AN_OBJECT, id="NaN"),
        pytest.param(wire({"data": [1]}), Reason.NOT_AN_OBJECT, id="page of numbers"),
        pytest.param(wire({"data": [step()] * (MAX_STEPS + 1)}), Reason.TOO_MANY_STEPS, id="endless page"),
        pytest.param(wire({"hello": "world"}), Reason.MISSING_STEP_ID, id="unknown object"),
        pytest.param(wire(step(id="")), Reason.MISSING_STEP_ID, id="empty id"),
        pytest.param(wire(step(id=5)), Reason.MISSING_STEP_ID, id="number as id"),
        pytest.param(wire(step(id="x" * 513)), Reason.MISSING_STEP_ID, id="endless id"),
        pytest.param(wire(step(run_id=None)), Reason.MISSING_RUN_ID, id="null run id"),
        pytest.param(wire({"id": "step_1", "run_id": "run_1"}), Reason.MISSING_CREATED_AT, id="no creation"),
    ],
)
def test_refuses_with_a_reason(value: bytes, reason: Reason) -> None:
    verdict = decode(value, LIMIT)
    assert isinstance(verdict, Unstored)
    assert verdict.reason is reason
    assert verdict.stage is not None
    assert verdict.detail


def test_a_page_gives_each_step_its_own_verdict() -> None:
    decoded = decode(
        wire({"object": "list", "data": [completed(1), step(2, run_id=""), {"object": "thread.run"}]}), LIMIT
    )
    assert [getattr(one, "reason", "event") for one in decoded] == [
        "event",
        Reason.MISSING_RUN_ID,
        Reason.NOT_A_RUN_STEP,
    ]


def test_frames_without_blank_lines_between_them_are_separated() -> None:
    frames = b"".join(
        b"event: thread.run.step.%s\ndata: %s\n" % (name, wire(step())) for name in (b"created", b"delta", b"completed")
    )
    decoded: Any = decode(frames, LIMIT)
    names = [getattr(one, "name", None) or one.reason for one in decoded]
    assert names == ["thread.run.step.created", Reason.DELTA, "thread.run.step.completed"]


def test_second_rank_ids_that_are_no_text_are_repaired_and_flagged() -> None:
    event = decode(wire(step(thread_id=5, assistant_id={"id": 1}, status=None)), LIMIT)
    assert isinstance(event, RunStepEvent)
    assert (event.step.thread_id, event.step.assistant_id) == ("5", "")
    assert event.anomalies == ("id_repaired",)


def test_a_refusal_keeps_the_ids_it_could_read_and_never_the_value() -> None:
    verdict = decode(wire(step(created_at=None, run_id=7, step_details={"secret": "hunter2"})), LIMIT)
    assert isinstance(verdict, Unstored)
    assert (verdict.step_id, verdict.thread_id, verdict.run_id) == ("step_1", "thread_1", "")
    assert "hunter2" not in repr(verdict)


FEW: Final = 1_000
STEP: Final = wire(step())
TEXT: Final = "a,b[c]{d}" * 20_000


def complex_to(value: bytes, max_nodes: int = FEW) -> bool:
    """Return whether a value is refused for what it is made of."""
    decoded = decode(value, LIMIT, max_nodes)
    return isinstance(decoded, Unstored) and decoded.reason is Reason.TOO_COMPLEX


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b'{"data":[%s{}]}' % (b"{}," * 70_000), id="page of {}"),
        pytest.param(b"[%s0]" % (b"0," * 70_000), id="zeros"),
        pytest.param(wire(step(step_details=[{"": 0}] * 20_000)), id="details"),
        pytest.param(wire(step(metadata={str(number): "" for number in range(20_000)})), id="metadata"),
        pytest.param(wire({"event": "x", "data": "[%s0]" % ("0," * 70_000)}), id="JSON in a string"),
        pytest.param(b'{"event": "x", "data": "[%s0]"}' % (b"0\\u002c" * 70_000), id="escaped"),
        pytest.param(b"data:\n" * 20_000, id="lines"),
        pytest.param(b"event: x\ndata: %s\n\n" % wire([0] * 100) * 500, id="frames, each with few"),
        pytest.param(b'{"x":[%s' % (b"{}," * 70_000), id="broken"),
    ],
)
def test_no_value_is_parsed_into_more_nodes_than_are_allowed(value: bytes) -> None:
    assert complex_to(value)
    assert not complex_to(value, len(value))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(wire(step(step_details={"text": TEXT})), id="text with the signs of JSON"),
        pytest.param(wire(step(step_details={"text": '\\"' + TEXT + '"'})), id="quotes in the text"),
        pytest.param(
            wire({"event": "x", "data": json.dumps(step(step_details={"text": TEXT}))}), id="JSON in a string"
        ),
        pytest.param(b"event: x\ndata: %s\n\n" % wire(step(step_details={"text": TEXT})) * 3, id="frames"),
    ],
)
def test_the_signs_of_json_in_a_text_are_no_nodes(value: bytes) -> None:
    decoded: Any = decode(value, LIMIT, FEW)
    assert {type(one) for one in (decoded if isinstance(decoded, list) else [decoded])} == {RunStepEvent}


@pytest.mark.parametrize("nodes", [FEW - 1, FEW, FEW + 1])
def test_the_bound_of_nodes_is_exact(nodes: int) -> None:
    value = b"[%s0]" % (b"0," * (nodes - 1) + b" " * 70_000)
    assert complex_to(value) is (nodes > FEW)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"run_id": ""},
        {"created_at": None},
        {"thread_id": 5},
        {"object": "thread.run"},
        {"event": "x", "data": {}},
        {"data": [1]},
    ],
)
@pytest.mark.parametrize(
    "around", ["%s", '{"event": "thread.run.step.completed", "data": %s}', '{"data": [%s, %s]}', "\ufeff%s"]
)
def test_a_large_value_is_read_as_a_small_one(change: dict[str, Any], around: str) -> None:
    text = json.dumps(step() | change)
    small = around.replace("%s", text).encode()
    assert spelled_out(small + b" " * 70_000) == spelled_out(small)
    camel = around.replace("%s", text.replace("run_id", "runId")).encode()
    assert spelled_out(camel + b" " * 70_000) == spelled_out(camel)


def spelled_out(value: bytes) -> list[Any]:
    """Return what a value holds, with the fields of its steps as a mapping."""
    decoded = decode(value, LIMIT)
    found = decoded if isinstance(decoded, list) else [decoded]
    return [(asdict(one.step), *one[1:]) if isinstance(one, RunStepEvent) else one for one in found]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*step(), "event", "data", "x"]), inner, max_size=6)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_json_gets_a_verdict(value: object) -> None:
    decoded = decode(wire(value), LIMIT)
    for one in decoded if isinstance(decoded, list) else [decoded]:
        assert isinstance(one, RunStepEvent | Unstored)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(value: bytes) -> None:
    decode(value, LIMIT)
