-- The history of one step: every record about it, in the order of Kafka.
-- Group: steps
-- Set step String = : id of the step; by default that of the latest one
-- Set thread String = : id of its thread, where several threads have this step id
-- From the ledger, which also has what run_steps_current has replaced: repeated and late events. The time range is that
-- of the Kafka timestamps of a named step; without a name it decides which step is the latest.
WITH
    (
        SELECT max(created_at) FROM run_steps_current
        WHERE {step:String} = ''
          AND created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
    ) AS latest,
    (
        SELECT argMax((thread_id, run_id, step_id), (created_at, step_id)) FROM run_steps_current
        WHERE {step:String} = '' AND created_at = latest
    ) AS latest_step
SELECT
    kafka_timestamp,
    status,
    occurred_at,
    outcome,
    reason,
    round(dateDiff('millisecond', kafka_timestamp, ingested_at) / 1000, 3) AS delay_s,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    thread_id,
    run_id,
    step_id
FROM run_step_ledger FINAL
WHERE step_id = if({step:String} = '', latest_step.3, {step:String})
  AND step_id != '' -- in a span without steps there is no latest one, and records without a step have no id
  AND ((thread_id, run_id) = (latest_step.1, latest_step.2) OR {step:String} != '')
  AND (thread_id = {thread:String} OR {thread:String} = '')
  AND
  (
      {step:String} = ''
      OR kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
  )
ORDER BY kafka_timestamp, kafka_topic, kafka_partition, kafka_offset, step_index
