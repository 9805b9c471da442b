-- Steps in progress that nothing was heard of for ten minutes, the longest silent first.
SELECT
    dateDiff('minute', kafka_timestamp, now()) AS silent_minutes,
    if(expires_at < now(), 'past its deadline', '') AS note,
    type,
    status,
    created_at,
    expires_at,
    assistant_id,
    thread_id,
    run_id,
    step_id
FROM run_steps_current
WHERE status NOT IN ('completed', 'failed', 'cancelled', 'expired')
  AND kafka_timestamp < now() - toIntervalMinute(10)
ORDER BY kafka_timestamp
LIMIT 50
