"""Run-step events for tests, as bytes on the wire."""

import json
from typing import Any

CREATED = 1_763_999_900
"""Creation of these steps, seconds since the epoch: 100 s before the records' timestamp."""


def step(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a snake_case run step in progress; `fields` replace or add."""
    return {
        "id": f"step_{number}",
        "object": "thread.run.step",
        "created_at": CREATED,
        "run_id": f"run_{number}",
        "assistant_id": "asst_1",
        "thread_id": "thread_1",
        "type": "message_creation",
        "status": "in_progress",
        "cancelled_at": None,
        "completed_at": None,
        "expires_at": CREATED + 600,
        "failed_at": None,
        "last_error": None,
        "step_details": {"type": "message_creation", "message_creation": {"message_id": "msg_1"}},
        "usage": None,
    } | fields


def completed(number: int = 1, seconds: int = 4, **fields: Any) -> dict[str, Any]:
    """Return the same step, completed after so many seconds."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return step(number, status="completed", completed_at=CREATED + seconds, usage=usage) | fields


def wire(event: Any) -> bytes:
    """Return an event's bytes."""
    return json.dumps(event).encode()
