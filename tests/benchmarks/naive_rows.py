"""The rows of the naive reference and of the other Python pipelines: nested models, datetimes, tuples.

What a capable engineer writes on a first day. It knows one dialect family less than the daemon, redacts nothing, and
raises at the first bad record. It imports nothing but pydantic, so that the peers' own environments can load it.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field


def either(snake: str, camel: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(snake, camel))


class LastError(BaseModel):
    code: str | None = None
    message: str | None = None


class Usage(BaseModel):
    prompt_tokens: int | None = either("prompt_tokens", "promptTokens")
    completion_tokens: int | None = either("completion_tokens", "completionTokens")
    total_tokens: int | None = either("total_tokens", "totalTokens")


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str | None = None
    type: str | None = None


class StepDetails(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str | None = None
    tool_calls: list[ToolCall] | None = either("tool_calls", "toolCalls")


class RunStep(BaseModel):
    id: str
    run_id: str = either("run_id", "runId")
    thread_id: str | None = either("thread_id", "threadId")
    assistant_id: str | None = either("assistant_id", "assistantId")
    type: str | None = None
    status: str | None = None
    created_at: datetime = either("created_at", "createdAt")
    completed_at: datetime | None = either("completed_at", "completedAt")
    failed_at: datetime | None = either("failed_at", "failedAt")
    cancelled_at: datetime | None = either("cancelled_at", "cancelledAt")
    expired_at: datetime | None = either("expired_at", "expiredAt")
    expires_at: datetime | None = either("expires_at", "expiresAt")
    last_error: LastError | None = either("last_error", "lastError")
    step_details: StepDetails | None = either("step_details", "stepDetails")
    usage: Usage | None = None
    metadata: dict[str, str] | None = None


class Envelope(BaseModel):
    event: str
    data: RunStep


COLUMNS = {
    "kafka_partition": "Int32",
    "kafka_offset": "Int64",
    "thread_id": "String",
    "run_id": "String",
    "step_id": "String",
    "assistant_id": "String",
    "type": "LowCardinality(String)",
    "status": "LowCardinality(String)",
    "created_at": "DateTime64(3, 'UTC')",
    "completed_at": "Nullable(DateTime64(3, 'UTC'))",
    "failed_at": "Nullable(DateTime64(3, 'UTC'))",
    "cancelled_at": "Nullable(DateTime64(3, 'UTC'))",
    "expired_at": "Nullable(DateTime64(3, 'UTC'))",
    "expires_at": "Nullable(DateTime64(3, 'UTC'))",
    "duration_ms": "Nullable(UInt64)",
    "error_code": "LowCardinality(String)",
    "error_message": "String",
    "prompt_tokens": "Nullable(UInt64)",
    "completion_tokens": "Nullable(UInt64)",
    "total_tokens": "Nullable(UInt64)",
    "tool_types": "Array(LowCardinality(String))",
    "tool_call_ids": "Array(String)",
    "step_details": "String",
    "metadata": "Map(LowCardinality(String), String)",
    "ingested_at": "DateTime64(3, 'UTC')",
}


def to_row(partition: int, offset: int, value: bytes) -> tuple[Any, ...]:
    """Return the row of a record; a record that is no run step raises."""
    step = Envelope.model_validate_json(value).data if b'"event"' in value[:24] else RunStep.model_validate_json(value)
    ended_at = step.completed_at or step.failed_at or step.cancelled_at or step.expired_at
    duration = max(int((ended_at - step.created_at).total_seconds() * 1000), 0) if ended_at else None
    calls = (step.step_details.tool_calls if step.step_details else None) or []
    usage = step.usage or Usage()
    error = step.last_error or LastError()
    return (
        partition,
        offset,
        step.thread_id or "",
        step.run_id,
        step.id,
        step.assistant_id or "",
        step.type or "",
        step.status or "",
        step.created_at,
        step.completed_at,
        step.failed_at,
        step.cancelled_at,
        step.expired_at,
        step.expires_at,
        duration,
        error.code or "",
        error.message or "",
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        [call.type or "" for call in calls],
        [call.id or "" for call in calls],
        step.step_details.model_dump_json() if step.step_details else "",
        step.metadata or {},
        datetime.now(UTC),
    )


def create(table: str) -> str:
    """Return the statement that makes the table of these rows."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    return f"CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE = MergeTree ORDER BY (created_at, step_id)"
