-- One current row a step: whatever came twice or late, the highest version stays (a step's end beats its beginning).
CREATE TABLE IF NOT EXISTS ${database}.run_steps${local}${on_cluster}
(
    kafka_topic       LowCardinality(String),
    kafka_partition   Int32,
    kafka_offset      Int64 CODEC(Delta, ZSTD(1)), -- neighbours differ by little: Delta leaves almost nothing
    kafka_timestamp   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    thread_id         String CODEC(ZSTD(1)), -- random text: only the alphabet's share can be saved
    run_id            String CODEC(ZSTD(1)),
    step_id           String CODEC(ZSTD(1)),
    assistant_id      String CODEC(ZSTD(1)),
    -- LowCardinality, not Enum8: the driver stores a label that the Enum does not know as 0, and says nothing.
    type              LowCardinality(String),
    status            LowCardinality(String),
    dialect           LowCardinality(String),
    created_at        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    completed_at      Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    failed_at         Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    cancelled_at      Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    expired_at        Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    expires_at        Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    ended_at          Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    duration_ms       Nullable(UInt64) CODEC(T64, ZSTD(1)), -- small numbers in wide types: T64 drops the empty bits
    error_code        LowCardinality(String),
    error_category    LowCardinality(String),
    error_retryable   Nullable(Bool),
    error_message     String CODEC(ZSTD(3)), -- long and repetitive: level 3 pays for itself
    error_fingerprint String CODEC(ZSTD(1)),
    prompt_tokens     Nullable(UInt64) CODEC(T64, ZSTD(1)),
    completion_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    total_tokens      Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cached_tokens     Nullable(UInt64) CODEC(T64, ZSTD(1)),
    reasoning_tokens  Nullable(UInt64) CODEC(T64, ZSTD(1)),
    tool_call_count   UInt16 CODEC(T64, ZSTD(1)),
    tool_types        Array(LowCardinality(String)),
    tool_names        Array(LowCardinality(String)),
    tool_call_ids     Array(String) CODEC(ZSTD(1)),
    message_id        String CODEC(ZSTD(1)),
    step_details      String CODEC(ZSTD(3)),
    metadata          Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    extra_fields      String CODEC(ZSTD(3)),
    anomalies         Array(LowCardinality(String)),
    version           UInt64 CODEC(Delta, ZSTD(1)),
    -- The key leads with time, so a look-up by id needs these: 1192 ms without, 12 ms with, on 10 million steps, for
    -- 2 % of the disk. A projection would cost 42 % and is not used with FINAL.
    INDEX ix_step   step_id   TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_run    run_id    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_thread thread_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replacing_by_version}
-- Time first, as it is read: an hour's percentiles 91 -> 4 ms, a week's errors 644 -> 89 ms against ids first.
-- The hour, not the instant, so that a step whose events round created_at differently keeps one key. Every column here
-- never changes for a step; that is why created_at is never substituted.
PARTITION BY toYYYYMM(created_at)
ORDER BY (toStartOfHour(created_at), thread_id, run_id, step_id)
-- Without a window the server ignores the insert's token, and each ambiguous retry leaves the batch twice on disk.
SETTINGS ${deduplication};
