-- Rows that a newer row of the same step replaces in the same insert go into the ledger alone: run_steps would store each
-- of them, with its texts, and drop it at the next merge. The daemon says which ones those are, and leaves their texts out.
-- False for daemons of the version before, which know nothing of it: all of their rows pass.
--
-- Altered, not dropped and made, so that no insert finds a view missing. Until all hosts of a cluster are migrated, one that
-- is not yet refuses (16) what the others send there; daemons send that again.
ALTER TABLE ${database}.run_step_ingest${local}${on_cluster} ADD COLUMN IF NOT EXISTS is_superseded Bool;

ALTER TABLE ${database}.run_steps_mv${on_cluster} MODIFY QUERY
SELECT
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp,
    ingested_at,
    thread_id,
    run_id,
    step_id,
    assistant_id,
    type,
    status,
    dialect,
    created_at,
    completed_at,
    failed_at,
    cancelled_at,
    expired_at,
    expires_at,
    ended_at,
    duration_ms,
    error_code,
    error_category,
    error_retryable,
    error_message,
    error_fingerprint,
    prompt_tokens,
    completion_tokens,
    total_tokens,
    cached_tokens,
    reasoning_tokens,
    tool_call_count,
    tool_types,
    tool_names,
    tool_call_ids,
    message_id,
    step_details,
    metadata,
    extra_fields,
    anomalies,
    version
FROM ${database}.run_step_ingest${local}
WHERE outcome = 'stored' AND NOT is_superseded;

-- As it was. A view that is altered comes after the other one, and the ledger has to be last, see 0005.
ALTER TABLE ${database}.run_step_ledger_mv${on_cluster} MODIFY QUERY
SELECT
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp,
    step_index,
    outcome,
    reason,
    thread_id,
    run_id,
    step_id,
    type,
    status,
    occurred_at,
    ingested_at
FROM ${database}.run_step_ingest${local};
