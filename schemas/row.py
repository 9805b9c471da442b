"""The storage row: the columns of `run_step_ingest`, in the order in which every row tuple holds them.

Owns names, types, order and meanings; the DDL in `schemas/clickhouse` says the same, and a test compares the two.
DateTime64(3) values travel as int milliseconds since the epoch, in UTC.
"""

from typing import Any, Final, NamedTuple, TypeAlias

Row: TypeAlias = tuple[Any, ...]


class Column(NamedTuple):
    """A column's name and its ClickHouse type."""

    name: str
    type: str


_TEXT = "LowCardinality(String)"
_TIME = "DateTime64(3, 'UTC')"
_MAYBE_TIME = f"Nullable({_TIME})"
_MAYBE_COUNT = "Nullable(UInt64)"
_WORDS = f"Array({_TEXT})"

INGEST_COLUMNS: Final = (
    Column("kafka_topic", _TEXT),
    Column("kafka_partition", "Int32"),
    Column("kafka_offset", "Int64"),
    Column("kafka_timestamp", _TIME),
    Column("ingested_at", _TIME),
    Column("step_index", "UInt16"),
    Column("outcome", _TEXT),
    Column("reason", _TEXT),
    Column("occurred_at", _MAYBE_TIME),
    Column("thread_id", "String"),
    Column("run_id", "String"),
    Column("step_id", "String"),
    Column("assistant_id", "String"),
    Column("type", _TEXT),
    Column("status", _TEXT),
    Column("dialect", _TEXT),
    Column("created_at", _TIME),
    Column("completed_at", _MAYBE_TIME),
    Column("failed_at", _MAYBE_TIME),
    Column("cancelled_at", _MAYBE_TIME),
    Column("expired_at", _MAYBE_TIME),
    Column("expires_at", _MAYBE_TIME),
    Column("ended_at", _MAYBE_TIME),
    Column("duration_ms", _MAYBE_COUNT),
    Column("error_code", _TEXT),
    Column("error_category", _TEXT),
    Column("error_retryable", "Nullable(Bool)"),
    Column("error_message", "String"),
    Column("error_fingerprint", "String"),
    Column("prompt_tokens", _MAYBE_COUNT),
    Column("completion_tokens", _MAYBE_COUNT),
    Column("total_tokens", _MAYBE_COUNT),
    Column("cached_tokens", _MAYBE_COUNT),
    Column("reasoning_tokens", _MAYBE_COUNT),
    Column("tool_call_count", "UInt16"),
    Column("tool_types", _WORDS),
    Column("tool_names", _WORDS),
    Column("tool_call_ids", "Array(String)"),
    Column("message_id", "String"),
    Column("step_details", "String"),
    Column("metadata", f"Map({_TEXT}, String)"),
    Column("extra_fields", "String"),
    Column("anomalies", _WORDS),
    Column("version", "UInt64"),
    Column("is_superseded", "Bool"),
)

INDEX: Final = {column.name: position for position, column in enumerate(INGEST_COLUMNS)}
"""Position of each column in a row tuple."""

_BLANK: Final = {"String": "", _TEXT: "", "UInt16": 0, "UInt64": 0, "Bool": False, _TIME: 0}
BLANK_ROW: Final[Row] = tuple(
    [] if column.type.startswith("Array") else {} if column.type.startswith("Map") else _BLANK.get(column.type)
    for column in INGEST_COLUMNS
)
"""A row whose every value says nothing. Its lists and its map are shared by all rows made of it, and never changed."""

LEDGER_COLUMNS: Final = (
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "kafka_timestamp",
    "step_index",
    "outcome",
    "reason",
    "thread_id",
    "run_id",
    "step_id",
    "type",
    "status",
    "occurred_at",
    "ingested_at",
)
"""The columns of `run_step_ledger`, which has every row."""

STEP_COLUMNS: Final = tuple(
    column.name
    for column in INGEST_COLUMNS
    if column.name not in {"step_index", "outcome", "reason", "occurred_at", "is_superseded"}
)
"""The columns of `run_steps`, which has the stored rows that are not superseded."""

COLUMN_MEANINGS: Final = {
    "kafka_topic": "topic of the record",
    "kafka_partition": "partition of the record",
    "kafka_offset": "offset of the record",
    "kafka_timestamp": "timestamp of the record in Kafka",
    "ingested_at": "when the daemon sent the insert",
    "step_index": "place of the step in the record; 0, except where a record holds several steps",
    "outcome": "`stored`, `dead_lettered` or `ignored`",
    "reason": "why the record was not stored; empty where it was",
    "occurred_at": "time of the event: the end of a step that has ended, else its creation",
    "thread_id": "thread of the step; may be empty",
    "run_id": "run of the step",
    "step_id": "id of the step",
    "assistant_id": "assistant (agent) of the step; may be empty",
    "type": "`message_creation`, `tool_calls`, `activities`, or another as sent; 128 characters are kept",
    "status": "`in_progress`, `completed`, `failed`, `cancelled`, `expired`, or another; 128 characters are kept",
    "dialect": "form of the event: `snake_case`, `camel_case` or `envelope`",
    "created_at": "when the step was created; never substituted",
    "completed_at": "when it completed",
    "failed_at": "when it failed",
    "cancelled_at": "when it was cancelled",
    "expired_at": "when it expired",
    "expires_at": "its deadline",
    "ended_at": "when it ended: the time that its status names; NULL where that is unknown or a `future_timestamp`",
    "duration_ms": "`ended_at` minus `created_at`; NULL where that is unknown or negative",
    "error_code": "code of the error, as sent",
    "error_category": "what kind of error, one of a closed list",
    "error_retryable": "whether a retry can help; NULL where that is not known",
    "error_message": "message of the error, redacted, cut at `normalize.max_text` characters",
    "error_fingerprint": "equal for messages that differ in ids, numbers, URLs or hosts only",
    "prompt_tokens": "input tokens",
    "completion_tokens": "output tokens",
    "total_tokens": "all tokens, as sent",
    "cached_tokens": "input tokens that came from a cache",
    "reasoning_tokens": "output tokens spent on reasoning",
    "tool_call_count": "number of tool calls",
    "tool_types": "type of each tool call; of the first 1,000",
    "tool_names": "name of each tool call: of the function or MCP tool; the type for built-in tools",
    "tool_call_ids": "id of each tool call; the three lists are parallel",
    "message_id": "message that the step created",
    "step_details": "JSON in the form of the REST API, redacted; `normalize.content` decides how much of it",
    "metadata": "as sent, up to 1,000 entries with keys of 256 characters; what is no string becomes JSON text",
    "extra_fields": "JSON of the top-level fields that no known form has, and of metadata beyond its column",
    "anomalies": "what was doubtful or repaired",
    "version": "decides which event of a step is current: ended before not ended, then later time, then higher offset;"
    " a time that lies more than an hour after the record's own counts as the record's",
    "is_superseded": "of `run_step_ingest` only: a newer row of the same step is in the same insert, so only the ledger"
    " gets this one",
}
"""What each column holds, for the people who query it."""
