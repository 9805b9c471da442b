-- Steps that have not ended and sent no event for ten minutes; `stuck` is their number.
SELECT
    dateDiff('second', kafka_timestamp, now64(3, 'UTC')) AS silent,
    expires_at < now64(3, 'UTC') AS overdue,
    count() OVER () AS stuck,
    type, status, created_at, assistant_id, thread_id, run_id, step_id
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND status NOT IN ('completed', 'failed', 'cancelled', 'expired')
  AND kafka_timestamp < now64(3, 'UTC') - toIntervalMinute(10)
ORDER BY kafka_timestamp, step_id
LIMIT 25
