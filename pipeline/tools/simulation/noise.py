"""Records that are no run step: what a shared topic holds besides, and what broken producers send."""

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import to_json

from pipeline.records import Outcome, Reason
from pipeline.tools.simulation.draw import Draw, Weighted
from pipeline.tools.simulation.truth import SimulatedEvent

_DEPTH: Final = 10_000


def _ids(draw: Draw) -> dict[str, Any]:
    ids = {name: f"{prefix}_{draw.token()}" for name, prefix in (("run_id", "run"), ("thread_id", "thread"))}
    return {"id": f"step_{draw.token()}", "object": "thread.run.step", "created_at": 1_750_000_000, **ids}


def _step(draw: Draw, **changes: Any) -> bytes:
    details = {"type": "tool_calls", "tool_calls": []}
    body = {**_ids(draw), "type": "tool_calls", "status": "in_progress", "step_details": details, **changes}
    return to_json({name: value for name, value in body.items() if value is not ...})


def _torn(draw: Draw) -> bytes:
    whole = _step(draw)
    return whole[: draw.between(20, len(whole) - 1)]


_Maker = Callable[[Draw], bytes | None]

_POISON: Final[Weighted[tuple[Reason, _Maker]]] = Weighted(
    [
        ((Reason.INVALID_JSON, _torn), 30),
        ((Reason.INVALID_JSON, lambda draw: b"<html>502 Bad Gateway</html>" + draw.randbytes(2).hex().encode()), 10),
        ((Reason.NOT_UTF8, lambda draw: _step(draw, assistant_id="asst_#").replace(b"#", b"\xff\xfe")), 15),
        ((Reason.NOT_AN_OBJECT, lambda draw: to_json(draw.between(1, 99_999))), 5),
        ((Reason.NOT_AN_OBJECT, lambda draw: to_json(f"step_{draw.token()}")), 5),
        ((Reason.TOO_DEEP, lambda _: b'{"object":"thread.run.step","x":' + b"[" * _DEPTH + b"]" * _DEPTH + b"}"), 1),
        ((Reason.MISSING_STEP_ID, lambda draw: _step(draw, id=...)), 10),
        ((Reason.MISSING_STEP_ID, lambda draw: _step(draw, id="")), 4),
        ((Reason.MISSING_RUN_ID, lambda draw: _step(draw, run_id=None)), 10),
        ((Reason.MISSING_CREATED_AT, lambda draw: _step(draw, created_at=None)), 10),
        ((Reason.UNREADABLE_CREATED_AT, lambda draw: _step(draw, created_at="last Tuesday")), 5),
    ]
)


def _run(draw: Draw) -> bytes:
    ids = {"id": f"run_{draw.token()}", "thread_id": f"thread_{draw.token()}"}
    return to_json({**ids, "object": "thread.run", "created_at": 1_750_000_000, "status": "in_progress"})


def _message(draw: Draw) -> bytes:
    ids = {"id": f"msg_{draw.token()}", "thread_id": f"thread_{draw.token()}"}
    message = {**ids, "object": "thread.message", "created_at": 1_750_000_000, "role": "assistant", "content": []}
    return to_json({"event": "thread.message.completed", "data": message})


_FOREIGN: Final[Weighted[tuple[Reason, _Maker]]] = Weighted(
    [
        ((Reason.NOT_A_RUN_STEP, _run), 40),
        ((Reason.NOT_A_RUN_STEP, _message), 30),
        ((Reason.TOMBSTONE, lambda _: None), 12),
        ((Reason.EMPTY_VALUE, lambda _: b""), 3),
        ((Reason.STREAM_CONTROL, lambda _: b'{"event":"done","data":"[DONE]"}'), 12),
        (
            (
                Reason.EMPTY_LIST,
                lambda _: b'{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}',
            ),
            3,
        ),
    ]
)


def poison(draw: Draw, at: float) -> SimulatedEvent:
    """Return a record that must be dead-lettered."""
    reason, make = _POISON.pick(draw)
    key = f"thread_{draw.token()}".encode() if draw.random() < 0.8 else None  # noqa: PLR2004 - a share
    return SimulatedEvent(key, make(draw), at, "poison", Outcome.DEAD_LETTERED, reason)


def foreign(draw: Draw, at: float) -> SimulatedEvent:
    """Return a record that is well-formed and none of our business."""
    reason, make = _FOREIGN.pick(draw)
    return SimulatedEvent(f"thread_{draw.token()}".encode(), make(draw), at, "foreign", Outcome.IGNORED, reason)
