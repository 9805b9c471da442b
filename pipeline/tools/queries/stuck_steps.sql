-- Steps in progress without an event for ten minutes, the longest silent first.
-- Group: steps
-- Set minutes UInt32 = 10: least minutes without an event
-- Set limit UInt32 = 50: how many steps
-- A stream that broke off leaves its step in progress without end: see also expires_at.
SELECT
    age('minute', kafka_timestamp, now64(3, 'UTC')) AS silent_minutes,
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
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status NOT IN ('completed', 'failed', 'cancelled', 'expired')
  AND kafka_timestamp < now64(3, 'UTC') - toIntervalMinute({minutes:UInt32})
ORDER BY kafka_timestamp, step_id
LIMIT {limit:UInt32}
