"""The tables of ClickHouse's Kafka engine: as it is commonly set up, and with the work that the daemon does.

Both read whole records (one parse of each), with two consumers and a thread each. The view on the queue comes last,
since it starts the consumption.
"""

from collections.abc import Sequence
from typing import Final

CONSUMERS: Final = 2
_FIELDS: Final = """id String, run_id String, thread_id String, assistant_id String, type String, status String,
    created_at Nullable(Int64), completed_at Nullable(Int64), failed_at Nullable(Int64), cancelled_at Nullable(Int64),
    expired_at Nullable(Int64), expires_at Nullable(Int64), last_error Tuple(code String, message String),
    usage Tuple(prompt_tokens Nullable(UInt64), completion_tokens Nullable(UInt64), total_tokens Nullable(UInt64)),
    step_details String, metadata Map(String, String)"""
_ENVELOPE: Final = '{"event":"'
_STEP: Final = f"""if(startsWith(record, '{_ENVELOPE}'),
    substring(record, position(record, '"data":') + 7, length(record) - position(record, '"data":') - 7), record)"""
"""The step of a record in either dialect, cut out as text: half of what JSONExtractRaw costs."""

_COLUMNS: Final = """kafka_partition Int32, kafka_offset Int64, kafka_timestamp DateTime64(3, 'UTC'),
    thread_id String, run_id String, step_id String, assistant_id String, type LowCardinality(String),
    status LowCardinality(String), created_at DateTime64(3, 'UTC'), completed_at Nullable(DateTime64(3, 'UTC')),
    failed_at Nullable(DateTime64(3, 'UTC')), cancelled_at Nullable(DateTime64(3, 'UTC')),
    expired_at Nullable(DateTime64(3, 'UTC')), expires_at Nullable(DateTime64(3, 'UTC')),
    error_code LowCardinality(String), error_message String, prompt_tokens Nullable(UInt64),
    completion_tokens Nullable(UInt64), total_tokens Nullable(UInt64), step_details String,
    metadata Map(LowCardinality(String), String), ingested_at DateTime64(3, 'UTC')"""
"""What is stored of an event: 23 columns."""

_VALUES: Final = """kafka_partition, kafka_offset, kafka_timestamp,
    t.thread_id AS thread_id, t.run_id AS run_id, t.id AS step_id, t.assistant_id AS assistant_id, t.type AS type,
    t.status AS status, toDateTime64(ifNull(t.created_at, 0), 3, 'UTC') AS created_at,
    toDateTime64(t.completed_at, 3, 'UTC') AS completed_at, toDateTime64(t.failed_at, 3, 'UTC') AS failed_at,
    toDateTime64(t.cancelled_at, 3, 'UTC') AS cancelled_at, toDateTime64(t.expired_at, 3, 'UTC') AS expired_at,
    toDateTime64(t.expires_at, 3, 'UTC') AS expires_at, t.last_error.code AS error_code,
    t.last_error.message AS error_message, t.usage.prompt_tokens AS prompt_tokens,
    t.usage.completion_tokens AS completion_tokens, t.usage.total_tokens AS total_tokens,
    t.step_details AS step_details, t.metadata AS metadata, now64(3, 'UTC') AS ingested_at"""
_SOURCE: Final = """_partition AS kafka_partition, _offset AS kafka_offset,
    toDateTime64(_timestamp_ms, 3, 'UTC') AS kafka_timestamp"""

_STATUSES: Final = "('in_progress', 'completed', 'failed', 'cancelled', 'expired', 'incomplete')"
_REASON: Final = f"""multiIf(
    not isValidUTF8(record), 'not_utf8', not isValidJSON(record), 'invalid_json', t.id = '', 'missing_step_id',
    t.run_id = '', 'missing_run_id', t.thread_id = '', 'missing_thread_id', t.created_at IS NULL, 'missing_created_at',
    t.created_at NOT BETWEEN 946684800 AND 4102444800, 'unreadable_created_at',
    t.status NOT IN {_STATUSES}, 'unknown_status', t.type NOT IN ('message_creation', 'tool_calls'), 'unknown_type',
    '')"""
"""Why a record is no step that can be stored; empty where it is one."""

_PLACE: Final = "kafka_partition Int32, kafka_offset Int64"
_ENDED: Final = "coalesce(completed_at, failed_at, cancelled_at, expired_at)"
_STATE: Final = "ended_at Nullable(DateTime64(3, 'UTC')), duration_ms Nullable(UInt64), version UInt64"
_STATE_VALUES: Final = f"""{_ENDED} AS ended_at,
    greatest(0, dateDiff('millisecond', created_at, {_ENDED})) AS duration_ms,
    bitShiftLeft(toUInt64(status != 'in_progress'), 63)
        + bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ifNull({_ENDED}, created_at))), 22)
        + kafka_offset % 4194304 AS version"""
"""What the current state of a step needs more; the version is built as the daemon's: an end beats what is open."""
_ACCOUNT: Final = """kafka_timestamp DateTime64(3, 'UTC'), outcome LowCardinality(String),
    reason LowCardinality(String), thread_id String, run_id String, step_id String, type LowCardinality(String),
    status LowCardinality(String), occurred_at Nullable(DateTime64(3, 'UTC')), ingested_at DateTime64(3, 'UTC')"""
_ACCOUNT_VALUES: Final = f"""kafka_timestamp, if(reason = '', 'stored', 'rejected') AS outcome, reason, thread_id,
    run_id, step_id, type, status, ifNull({_ENDED}, created_at) AS occurred_at, ingested_at"""


def plain(database: str, bootstrap: str, topic: str, group: str) -> Sequence[str]:
    """Return the statements of one typed table, filled as it comes."""
    return (
        _queue(database, bootstrap, topic, group, "JSONAsString"),
        f"CREATE TABLE {database}.events ({_COLUMNS}) ENGINE = MergeTree ORDER BY (created_at, step_id)",
        _view(database, "events", f"SELECT {_VALUES} FROM ({_parsed(database)})"),
    )


def same_work(database: str, bootstrap: str, topic: str, group: str) -> Sequence[str]:
    """Return the statements of checked JSON, the current state of each step, a ledger and a table of rejects.

    A record is parsed once, into a table that keeps nothing; the views on that table feed the others, as the daemon's
    tables do.
    """
    parsed = f"FROM {database}.parsed"
    by_offset = "ENGINE = ReplacingMergeTree ORDER BY (kafka_partition, kafka_offset)"
    by_step = "PARTITION BY toYYYYMM(created_at) ORDER BY (toStartOfHour(created_at), thread_id, run_id, step_id)"
    return (
        _queue(database, bootstrap, topic, group, "RawBLOB"),
        f"CREATE TABLE {database}.parsed ({_COLUMNS}, value String, reason LowCardinality(String)) ENGINE = Null",
        f"CREATE TABLE {database}.steps ({_COLUMNS}, {_STATE}) ENGINE = ReplacingMergeTree(version) {by_step}",
        f"CREATE TABLE {database}.rejected ({_PLACE}, reason String, value String) {by_offset}",
        f"CREATE TABLE {database}.ledger ({_PLACE}, {_ACCOUNT}) {by_offset}",
        _view(database, "steps", f"SELECT * EXCEPT (value, reason), {_STATE_VALUES} {parsed} WHERE reason = ''"),
        _view(database, "rejected", f"SELECT kafka_partition, kafka_offset, reason, value {parsed} WHERE reason != ''"),
        _view(database, "ledger", f"SELECT kafka_partition, kafka_offset, {_ACCOUNT_VALUES} {parsed}"),
        _view(
            database,
            "parsed",
            f"SELECT {_VALUES}, {_REASON} AS reason, if(reason = '', '', record) AS value FROM ({_parsed(database)})",
        ),
    )


def _view(database: str, target: str, select: str) -> str:
    return f"CREATE MATERIALIZED VIEW {database}.{target}_mv TO {database}.{target} AS {select}"


def _parsed(database: str) -> str:
    return f"SELECT record, JSONExtract({_STEP}, 'Tuple({_FIELDS})') AS t, {_SOURCE} FROM {database}.queue"


def _queue(database: str, bootstrap: str, topic: str, group: str, form: str) -> str:
    settings = {
        "kafka_broker_list": bootstrap,
        "kafka_topic_list": topic,
        "kafka_group_name": group,
        "kafka_format": form,
    }
    given = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
    return (
        f"CREATE TABLE {database}.queue (record String) ENGINE = Kafka SETTINGS {given}, "
        f"kafka_num_consumers = {CONSUMERS}, kafka_thread_per_consumer = 1, kafka_max_block_size = 65536, "
        "kafka_poll_max_batch_size = 65536, kafka_flush_interval_ms = 1000"
    )
