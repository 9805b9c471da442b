-- The 25 steps that took longest.
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
WHERE duration_ms IS NOT NULL
ORDER BY duration_ms DESC, created_at
LIMIT 25
