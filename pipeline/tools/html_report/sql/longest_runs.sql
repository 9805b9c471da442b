-- The runs that took longest, of those that are over.
SELECT wall_ms, active_ms, client_ms, status, started_at, steps, failed_steps, tool_calls, total_tokens, thread_id, run_id
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE wall_ms IS NOT NULL
ORDER BY wall_ms DESC, run_id
LIMIT 15
