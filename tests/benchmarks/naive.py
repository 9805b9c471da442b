"""The naive reference: a model per message, nested models, datetimes, row tuples, insert, commit.

What a capable engineer writes on a first day with the same four packages. It validates, it batches, it commits after
the insert; it knows one dialect family less, redacts nothing, accounts for nothing, and stops at the first bad record,
so the benchmark feeds both sides good records only. Run as a process of its own; ends when it has read all.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
from kafka import KafkaConsumer
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


def to_row(message: Any) -> tuple[Any, ...]:
    step = (
        Envelope.model_validate_json(message.value).data
        if b'"event"' in message.value[:24]
        else RunStep.model_validate_json(message.value)
    )
    ended_at = step.completed_at or step.failed_at or step.cancelled_at or step.expired_at
    duration = max(int((ended_at - step.created_at).total_seconds() * 1000), 0) if ended_at else None
    calls = (step.step_details.tool_calls if step.step_details else None) or []
    usage = step.usage or Usage()
    error = step.last_error or LastError()
    return (
        message.partition,
        message.offset,
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


def main() -> None:
    """Read, insert, commit, until `NAIVE_COUNT` records are stored; print the measure as JSON."""
    count, batch_rows = int(os.environ["NAIVE_COUNT"]), int(os.environ["NAIVE_BATCH"])
    client = clickhouse_connect.get_client(dsn=os.environ["NAIVE_CLICKHOUSE"], autogenerate_session_id=False)
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    client.command(f"CREATE OR REPLACE TABLE naive_steps ({columns}) ENGINE = MergeTree ORDER BY (created_at, step_id)")
    consumer = KafkaConsumer(
        os.environ["NAIVE_TOPIC"],
        bootstrap_servers=os.environ["NAIVE_KAFKA"],
        group_id=f"naive-{time.time()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10_000,
        fetch_max_wait_ms=100,
    )
    while not (first := consumer.poll(200)):
        pass
    began, spent = time.monotonic(), time.process_time()
    rows: list[tuple[Any, ...]] = []
    stored = 0
    polled = first
    while stored < count:
        for messages in polled.values():
            rows.extend(to_row(message) for message in messages)
        if len(rows) >= batch_rows or stored + len(rows) == count:
            client.insert("naive_steps", rows, column_names=list(COLUMNS), column_type_names=list(COLUMNS.values()))
            consumer.commit()
            stored += len(rows)
            rows = []
        polled = consumer.poll(200) if stored < count else {}
    seconds, cpu = time.monotonic() - began, time.process_time() - spent
    json.dump({"events": stored, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)
    consumer.close(autocommit=False)


if __name__ == "__main__":
    main()
