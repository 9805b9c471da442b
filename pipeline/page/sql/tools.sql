-- Tool calls by tool, and the steps they belong to.
SELECT
    tool,
    kind,
    count() AS calls,
    uniqExact(thread_id, run_id, step_id) AS steps,
    quantilesExact(0.5, 0.95)(duration_ms) AS percentiles,
    uniqExactIf((thread_id, run_id, step_id), status IN ('failed', 'expired')) AS failed
FROM run_steps_current
ARRAY JOIN tool_names AS tool, tool_types AS kind
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY tool, kind
ORDER BY calls DESC, tool, kind
LIMIT 20
