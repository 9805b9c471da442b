"""The storage row: the columns of `run_step_ingest`, in the order in which every row tuple holds them.

Owns names, types and order; the DDL in `schemas/clickhouse` says the same, and a test holds the two together.
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
)

INDEX: Final = {column.name: position for position, column in enumerate(INGEST_COLUMNS)}
"""Position of each column in a row tuple."""

_BLANK: Final = {"String": "", _TEXT: "", "UInt16": 0, "UInt64": 0, _TIME: 0}
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
"""What the ledger keeps of every row."""

STEP_COLUMNS: Final = tuple(
    column.name for column in INGEST_COLUMNS if column.name not in {"step_index", "outcome", "reason", "occurred_at"}
)
"""What `run_steps` keeps of the stored rows."""
