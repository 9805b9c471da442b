-- Steps that are waiting for the client now: function calls whose outputs were not submitted yet.
-- Group: tools
-- Set limit UInt32 = 50: how many steps
-- A step in progress past its deadline will not end any more: the event of its end is missing.
SELECT
    dateDiff('second', created_at, now64(3, 'UTC')) AS waiting_s,
    if(expires_at < now(), 'past its deadline', '') AS note,
    arrayFilter((name, kind) -> kind = 'function', tool_names, tool_types) AS functions,
    created_at,
    expires_at,
    assistant_id,
    thread_id,
    run_id,
    step_id
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status NOT IN ('completed', 'failed', 'cancelled', 'expired')
  AND has(tool_types, 'function')
ORDER BY created_at, step_id
LIMIT {limit:UInt32}
