-- What feeds the two tables. They commit one after the other, in the order in which they were made, and after a restart
-- of the server in the reverse order of their names: both say steps first, ledger last, so keep the order and the names.
-- A fault between the two then leaves steps without an account, which the repeated insert mends, and never an account of
-- steps that are not there. Nothing rests on it but convenience: the same insert, done again, always heals.
--
-- DEFINER: the daemon's user needs INSERT on run_step_ingest and no right on the targets. The server's default for views
-- was seen not to be applied, so it is said here. The user who migrates must not be dropped: inserts would fail (192).

-- First: the steps, of stored rows only; the other rows have no step.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.run_steps_mv${on_cluster}
TO ${database}.run_steps${local}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
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
WHERE outcome = 'stored';

-- Last: the account, of all rows.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.run_step_ledger_mv${on_cluster}
TO ${database}.run_step_ledger${local}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
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

-- Both are there: open the table.
ALTER TABLE ${database}.run_step_ingest${local}${on_cluster} DROP COLUMN IF EXISTS views_are_missing;
