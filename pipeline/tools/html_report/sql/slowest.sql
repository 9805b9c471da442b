-- The steps that took longest, without the expired ones, which all last until the deadline of their run.
SELECT duration_ms, type, status, created_at, tool_names, error_category, assistant_id, thread_id, run_id, step_id
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND duration_ms IS NOT NULL AND status != 'expired'
ORDER BY duration_ms DESC, created_at, step_id
LIMIT 25
