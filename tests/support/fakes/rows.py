"""Storage rows for tests of the sink: complete, plausible, each field to be changed by name."""

from collections.abc import Sequence
from typing import Any, Final

from pipeline.normalize.normalize import Normalized
from pipeline.records import InvalidRecord, Record
from schemas.row import INGEST_COLUMNS, Row

CREATED: Final = 1_790_000_000_000
"""When the steps of these rows were created, in milliseconds since the epoch."""

_STEP: Final[dict[str, Any]] = {
    "kafka_topic": "run-steps",
    "kafka_partition": 0,
    "kafka_timestamp": CREATED + 5_000,
    "ingested_at": CREATED + 6_000,
    "step_index": 0,
    "outcome": "stored",
    "reason": "",
    "occurred_at": CREATED + 4_000,
    "thread_id": "thread_1",
    "run_id": "run_1",
    "assistant_id": "asst_1",
    "type": "tool_calls",
    "status": "completed",
    "dialect": "snake_case",
    "created_at": CREATED,
    "completed_at": CREATED + 4_000,
    "failed_at": None,
    "cancelled_at": None,
    "expired_at": None,
    "expires_at": CREATED + 600_000,
    "ended_at": CREATED + 4_000,
    "duration_ms": 4_000,
    "error_code": "",
    "error_category": "",
    "error_retryable": None,
    "error_message": "",
    "error_fingerprint": "",
    "prompt_tokens": 120,
    "completion_tokens": 34,
    "total_tokens": 154,
    "cached_tokens": None,
    "reasoning_tokens": 0,
    "tool_call_count": 1,
    "tool_types": ["function"],
    "tool_names": ["search"],
    "tool_call_ids": ["call_1"],
    "message_id": "",
    "step_details": '{"type":"tool_calls","text":"über \\u0000"}',
    "metadata": {"tenant": "acme"},
    "extra_fields": "",
    "anomalies": ["type_inferred"],
    "version": 9_000,
    "is_superseded": False,
}
_EMPTY: Final[dict[str, Any]] = {
    "thread_id": "",
    "run_id": "",
    "step_id": "",
    "type": "",
    "status": "",
    "created_at": 0,
    "occurred_at": None,
    "outcome": "ignored",
    "reason": "tombstone",
}


def step_row(offset: int, **changes: Any) -> Row:
    """Return the row of a completed step `step_{offset}` read at that offset, with fields changed."""
    fields = {**_STEP, "kafka_offset": offset, "step_id": f"step_{offset}", **changes}
    return tuple(fields[column.name] for column in INGEST_COLUMNS)


def unstored_row(offset: int, **changes: Any) -> Row:
    """Return the row of a record that is no step: only its account matters."""
    return step_row(offset, **{**_EMPTY, **changes})


def normalized(
    rows: Sequence[Row], records: Sequence[Record], dead_letters: Sequence[InvalidRecord] = ()
) -> Normalized:
    """Return rows as what `normalize` would make of these records, one a row."""
    return Normalized(columns_of(rows), records, dead_letters, records=len(records))


def columns_of(rows: Sequence[Row]) -> list[list[Any]]:
    """Return rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]
