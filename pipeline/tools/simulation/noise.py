"""Records that are no run step: the other records of a shared topic, and those of broken producers."""

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import to_json

from pipeline.records import Outcome, Reason
from pipeline.tools.simulation.seeded_random import SeededRandom, Weighted
from pipeline.tools.simulation.truth import SimulatedEvent

_TOO_DEEP: Final = 10_000


def _ids(rng: SeededRandom) -> dict[str, Any]:
    ids = {name: f"{prefix}_{rng.token()}" for name, prefix in (("run_id", "run"), ("thread_id", "thread"))}
    return {"id": f"step_{rng.token()}", "object": "thread.run.step", "created_at": 1_750_000_000, **ids}


def _step(rng: SeededRandom, **changes: Any) -> bytes:
    details = {"type": "tool_calls", "tool_calls": []}
    body = {**_ids(rng), "type": "tool_calls", "status": "in_progress", "step_details": details, **changes}
    return to_json({name: value for name, value in body.items() if value is not ...})


def _torn(rng: SeededRandom) -> bytes:
    whole = _step(rng)
    return whole[: rng.between(20, len(whole) - 1)]


_Maker = Callable[[SeededRandom], bytes | None]

_POISON: Final[Weighted[tuple[Reason, _Maker]]] = Weighted(
    [
        ((Reason.INVALID_JSON, _torn), 30),
        ((Reason.INVALID_JSON, lambda rng: b"<html>502 Bad Gateway</html>" + rng.randbytes(2).hex().encode()), 10),
        ((Reason.NOT_UTF8, lambda rng: _step(rng, assistant_id="asst_#").replace(b"#", b"\xff\xfe")), 15),
        ((Reason.NOT_AN_OBJECT, lambda rng: to_json(rng.between(1, 99_999))), 5),
        ((Reason.NOT_AN_OBJECT, lambda rng: to_json(f"step_{rng.token()}")), 5),
        (
            (
                Reason.TOO_DEEP,
                lambda _: b'{"object":"thread.run.step","x":' + b"[" * _TOO_DEEP + b"]" * _TOO_DEEP + b"}",
            ),
            1,
        ),
        ((Reason.MISSING_STEP_ID, lambda rng: _step(rng, id=...)), 10),
        ((Reason.MISSING_STEP_ID, lambda rng: _step(rng, id="")), 4),
        ((Reason.MISSING_RUN_ID, lambda rng: _step(rng, run_id=None)), 10),
        ((Reason.MISSING_CREATED_AT, lambda rng: _step(rng, created_at=None)), 10),
        ((Reason.UNREADABLE_CREATED_AT, lambda rng: _step(rng, created_at="last Tuesday")), 5),
    ]
)


def _run(rng: SeededRandom) -> bytes:
    ids = {"id": f"run_{rng.token()}", "thread_id": f"thread_{rng.token()}"}
    return to_json({**ids, "object": "thread.run", "created_at": 1_750_000_000, "status": "in_progress"})


def _message(rng: SeededRandom) -> bytes:
    ids = {"id": f"msg_{rng.token()}", "thread_id": f"thread_{rng.token()}"}
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


def poison(rng: SeededRandom, at: float) -> SimulatedEvent:
    """Return a record that must be dead-lettered."""
    reason, make = _POISON.pick(rng)
    key = f"thread_{rng.token()}".encode() if rng.random() < 0.8 else None  # noqa: PLR2004 - a share
    return SimulatedEvent(key, make(rng), at, "poison", Outcome.DEAD_LETTERED, reason)


def foreign(rng: SeededRandom, at: float) -> SimulatedEvent:
    """Return a record that is well-formed and must be ignored."""
    reason, make = _FOREIGN.pick(rng)
    return SimulatedEvent(f"thread_{rng.token()}".encode(), make(rng), at, "foreign", Outcome.IGNORED, reason)
