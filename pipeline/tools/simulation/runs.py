"""One agent run: its steps, how long each lasts and how it ends, and the events about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

from pipeline.records import Outcome, Reason
from pipeline.tools.simulation import tool_calls, wire_forms
from pipeline.tools.simulation.failures import failure
from pipeline.tools.simulation.seeded_random import SeededRandom, Weighted
from pipeline.tools.simulation.truth import SimulatedEvent, Step

RUN_LIFETIME_S: Final = 600
"""Seconds after which the services expire a run."""

_MESSAGE_MEDIAN_S: Final = 2.2
_MESSAGE_SPREAD: Final = 0.6
_MORE_TOOL_STEPS_SHARE: Final = 0.45
_MORE_CALLS_SHARE: Final = 0.25
_NO_END_TIME_SHARE: Final = 0.3
_REPEATED_STATE_SHARE: Final = 0.3
_BAD_ENDS: Final = Weighted([("failed", 80), ("expired", 12), ("cancelled", 8)])
_NO_CALLS: Final[Sequence[Mapping[str, Any]]] = ()

FLAVOURS: Final = {
    "snake": Weighted([("openai", 45), ("foundry", 40), ("specification", 15)]),
    "camel": Weighted([("js_assistants", 50), ("js_agents", 50)]),
    "envelope": Weighted([("openai", 50), ("foundry", 50)]),
}
DIALECTS: Final = {"snake": "snake_case", "camel": "camel_case", "envelope": "envelope"}


@dataclass(frozen=True, slots=True)
class Run:
    """What the steps of a run share. `start` is in seconds since the epoch."""

    thread_id: str
    run_id: str
    assistant_id: str
    family: str
    flavour: str
    start: float
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Life:
    """A step from its beginning to its end, with its calls; `begin` and `end` are in seconds."""

    begun: Step
    ended: Step
    calls: Sequence[Mapping[str, Any]]
    begin: float
    end: float


def lives(rng: SeededRandom, run: Run, failure_ratio: float) -> Iterator[_Life]:
    """Yield the steps of a run: tool calls, then the message; the first one that ends badly ends the run."""
    at = run.start
    more = rng.random() < 0.7  # noqa: PLR2004 - the share of runs that call a tool at all
    while True:
        life = _life(rng, run, at, failure_ratio, tool_step=more)
        yield life
        if not more or life.ended.status != "completed":
            return
        at = life.end + rng.random()
        more = rng.random() < _MORE_TOOL_STEPS_SHARE


def _life(rng: SeededRandom, run: Run, begin: float, failure_ratio: float, *, tool_step: bool) -> _Life:
    calls: list[dict[str, Any]] = []
    if tool_step:
        tool = tool_calls.CHOICES[run.flavour].pick(rng)
        calls.append(tool_calls.call(rng, tool))
        while rng.random() < _MORE_CALLS_SHARE:
            calls.append(tool_calls.call(rng, tool))
        length = rng.lognormvariate(log(tool.median), tool.spread)
    else:
        length = rng.lognormvariate(log(_MESSAGE_MEDIAN_S), _MESSAGE_SPREAD)
    begun = _begun(rng, run, begin, tool_step=tool_step)
    if rng.random() < failure_ratio:
        status = _BAD_ENDS.pick(rng)
        end = run.start + RUN_LIFETIME_S + 1 if status == "expired" else begin + length * rng.random()
        end = max(end, begin)
    else:
        status, end = "completed", begin + length
    if status == "failed":
        calls = []
    return _Life(begun, _ended(rng, begun, status, end, calls), calls, begin, end)


def _begun(rng: SeededRandom, run: Run, begin: float, *, tool_step: bool) -> Step:
    return Step(
        thread_id=run.thread_id,
        run_id=run.run_id,
        step_id="step_" + rng.token(),
        assistant_id=run.assistant_id,
        type="tool_calls" if tool_step else "message_creation",
        status="in_progress",
        dialect=DIALECTS[run.family],
        created_at=int(begin) * 1000,
        expires_at=None if run.flavour == "js_agents" else int(run.start + RUN_LIFETIME_S) * 1000,
        message_id="" if tool_step else "msg_" + rng.token(),
        metadata=run.metadata,
    )


def _ended(rng: SeededRandom, begun: Step, status: str, end: float, calls: Sequence[Mapping[str, Any]]) -> Step:
    prompt, completion = rng.between(200, 9_000), rng.between(8, 900)
    detailed = begun.dialect != "camel_case"
    changes: dict[str, Any] = {
        "status": status,
        "ended_at": int(end) * 1000,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cached_tokens": prompt // 3 if detailed else None,
        "reasoning_tokens": 0 if detailed else None,
    }
    if calls:
        changes["tool_types"] = tuple([call["type"] for call in calls])
        changes["tool_names"] = tuple([tool_calls.name_of(call) for call in calls])
        changes["tool_call_ids"] = tuple([call["id"] for call in calls])
    if status != "completed":
        changes.update(_bad_end(rng, begun, status))
    return begun._replace(**changes)


def _bad_end(rng: SeededRandom, begun: Step, status: str) -> dict[str, Any]:
    if status == "failed":
        error = failure(rng)
        return {
            "error_family": error.family,
            "error_code": error.code,
            "error_message": error.message,
            "error_category": error.category,
            "error_retryable": error.retryable,
        }
    if (
        status == "expired"
        and begun.dialect != "camel_case"
        and not begun.metadata
        and rng.random() < _NO_END_TIME_SHARE
    ):
        # Azure leaves expired steps without any stamp.
        return {"error_category": status, "ended_at": None, "anomalies": ("terminal_without_timestamp",)}
    return {"error_category": status}


def lifecycle(rng: SeededRandom, run: Run, life: _Life, deltas_per_step: float) -> Iterator[SimulatedEvent]:
    """Yield the events of one step in the order in which they happen; `at` is when each happens."""
    key = run.thread_id.encode()
    begun = wire_forms.step_value(life.begun, _NO_CALLS, run.flavour)
    ended = wire_forms.step_value(life.ended, life.calls, run.flavour)
    stored = Outcome.STORED
    if run.family != "envelope":
        yield SimulatedEvent(key, begun, life.begin, "in_progress", stored, "", (life.begun,))
        if rng.random() < _REPEATED_STATE_SHARE:
            later = rng.uniform(life.begin, life.end)
            yield SimulatedEvent(key, begun, later, "in_progress", stored, "", (life.begun,))
        yield SimulatedEvent(key, ended, life.end, life.ended.status, stored, "", (life.ended,))
        return
    for delay, kind in enumerate(("created", "in_progress")):
        value = wire_forms.enveloped(f"thread.run.step.{kind}", begun)
        yield SimulatedEvent(key, value, life.begin + delay * 1e-3, kind, stored, "", (life.begun,))
    yield from _deltas(rng, key, life, deltas_per_step)
    status = life.ended.status
    value = wire_forms.enveloped(f"thread.run.step.{status}", ended)
    yield SimulatedEvent(key, value, life.end, status, stored, "", (life.ended,))


def _deltas(rng: SeededRandom, key: bytes, life: _Life, mean: float) -> Iterator[SimulatedEvent]:
    if life.begun.type != "tool_calls" or mean <= 0:
        return
    streamed = min(life.end, life.begin + RUN_LIFETIME_S / 10)
    go_on = mean / (1 + mean)
    while rng.random() < go_on:
        data = wire_forms.delta_value(life.begun.step_id, 0, '{"order_id":')
        value = wire_forms.enveloped("thread.run.step.delta", data)
        at = rng.uniform(life.begin, streamed)
        yield SimulatedEvent(key, value, at, "delta", Outcome.IGNORED, Reason.DELTA)


def page(run: Run, taken: Sequence[_Life], at: float) -> SimulatedEvent:
    """Return the record of a client that lists the steps of an ended run: several steps, newest first."""
    newest_first = list(reversed(taken))
    values = [wire_forms.step_value(life.ended, life.calls, run.flavour) for life in newest_first]
    # A list answers in the REST form, also about runs that were streamed.
    dialect = DIALECTS["camel" if run.family == "camel" else "snake"]
    steps = tuple(life.ended._replace(dialect=dialect) for life in newest_first)
    value = wire_forms.page_value(values, [step.step_id for step in steps], run.flavour)
    return SimulatedEvent(run.thread_id.encode(), value, at, "page", Outcome.STORED, "", steps)
