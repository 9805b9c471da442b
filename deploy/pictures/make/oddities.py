"""Steps of two clients with wrong clocks, so that the panels of anomalies have data."""

import json
import time
import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any

from pipeline.tools.simulation import SimulatedEvent


def odd_events() -> Iterator[SimulatedEvent]:
    """Yield completed steps without end, of a clock that runs backwards and of one that is hours ahead."""
    name = uuid.uuid4().hex[:12]
    for number in count():
        now = time.time()
        ahead = 3 * 3600 if number % 3 == 0 else 0
        step = _step(f"{name}{number:05}", int(now + ahead), int(now + ahead) + (5 if ahead else -2))
        key, value = str(step["thread_id"]).encode(), json.dumps(step).encode()
        yield SimulatedEvent(key, value, now, "completed", "stored")


def _step(name: str, created: int, completed: int) -> dict[str, Any]:
    return {
        "id": f"step_{name}",
        "object": "thread.run.step",
        "created_at": created,
        "run_id": f"run_{name}",
        "assistant_id": "asst_odd",
        "thread_id": f"thread_{name}",
        "type": "message_creation",
        "status": "completed",
        "completed_at": completed,
        "last_error": None,
        "step_details": {"type": "message_creation", "message_creation": {"message_id": f"msg_{name}"}},
        "usage": {"prompt_tokens": 900, "completion_tokens": 80, "total_tokens": 980},
    }
