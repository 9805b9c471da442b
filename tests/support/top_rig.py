"""Daemons as `runstep top` sees them, invented: what they answer at which second."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.endpoints.status import Status
from pipeline.tools.top.board import Board
from pipeline.tools.top.counters import Labels, labels
from pipeline.tools.top.figures import Figures
from pipeline.tools.top.sampling import Answer, Answered, Round, Unanswered

WALL = 1_000_000.0
"""The time of the day at second 0."""
FIRST, SECOND = "one:9464", "two:9464"


def daemon(
    at: float,
    address: str = FIRST,
    *,
    records: float = 0.0,
    partitions: Mapping[str, Sequence[int | None]] | None = None,
    born: float = WALL - 100,
    samples: Mapping[str, Mapping[Labels, float]] | None = None,
    **status: Any,
) -> Answered:
    """Return what a daemon says.

    Args:
        at: seconds.
        address: whose.
        records: stored so far.
        partitions: name to position, committed and lag.
        born: when its process began.
        samples: further metrics.
        status: further parts of /status.
    """
    places = {
        name: dict(zip(("position", "committed", "lag"), place, strict=True))
        for name, place in (partitions or {}).items()
    }
    counted = {
        "runstep_records_total": {labels(outcome="stored", reason=""): records},
        "process_start_time_seconds": {labels(): born},
        **(samples or {}),
    }
    answer = {"state": "running", "partitions": places, "sink": {"available": True, "breaker": "closed"}, **status}
    return Answered(address, at, Status.read(json.dumps(answer)), counted)


def silent(at: float, address: str = SECOND, cause: str = "connection refused") -> Unanswered:
    """Return that a daemon does not answer."""
    return Unanswered(address, at, cause)


def shown(
    board: Board, at: float, *answers: Answer, expected: Sequence[str] = (FIRST, SECOND), trouble: str = ""
) -> Figures:
    """Return the figures after a round at that second."""
    return board.update(Round(answers, expected, trouble), at, WALL + at)


def stuck() -> Figures:
    """Return figures of a group with everything there is to see, and text that wants to do harm."""
    board = Board("steps")
    more = {
        "runstep_records_total": {
            labels(outcome="stored", reason=""): 90_000.0,
            labels(outcome="dead_lettered", reason="invalid_json"): 40.0,
            labels(outcome="dead_lettered", reason="too_deep"): 2.0,
            labels(outcome="ignored", reason="delta"): 7.0,
        },
        "runstep_records_lost_total": {labels(topic="steps", partition="0"): 3.0},
        "runstep_insert_retries_total": {labels(error_class="transient"): 4.0},
        "runstep_steps_total": {labels(type="tool_calls", status="completed"): 9.0},
        "runstep_step_failures_total": {labels(type="tool_calls", error_category="rate_limit"): 2.0},
        "runstep_build_info": {labels(version="1.2.3", revision="", python="3"): 1.0},
    }
    places = {f"steps/{number}": (5_000 + number, 4_000, 300 * number) for number in range(12)}
    sick: dict[str, Any] = {
        "causes": ["[bold]no[/bold] \x1b[2J table", "steps/1 is halted: no codec"],
        "halted": {"steps/1": "no codec"},
        "last_error": {"transient": "[red]refused \x1b]0;owned\x07"},
        "state": "waiting",
    }
    shown(board, 0.0, daemon(0.0, partitions=places, samples=more, **sick), silent(0.0))
    return shown(board, 2.0, daemon(2.0, partitions=places, samples=more, **sick), silent(2.0))
