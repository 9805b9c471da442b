-- The 25 steps that took longest.
-- Group: latency
-- Set limit UInt32 = 25: how many steps
-- Set assistant String = : only steps of this assistant; all by default
SELECT
    round(duration_ms / 1000, 3) AS seconds,
    type,
    status,
    created_at,
    tool_names,
    assistant_id,
    thread_id,
    run_id,
    step_id
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND duration_ms IS NOT NULL
  AND (assistant_id = {assistant:String} OR {assistant:String} = '')
ORDER BY duration_ms DESC, created_at, step_id
LIMIT {limit:UInt32}
