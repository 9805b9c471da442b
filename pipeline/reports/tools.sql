-- Tool calls by tool: how often, in how many steps, how long those steps took, how many failed.
SELECT
    tool,
    kind,
    count() AS calls,
    uniqExact(thread_id, run_id, step_id) AS steps,
    round(quantileExact(0.5)(duration_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(duration_ms) / 1000, 3) AS p95_s,
    uniqExactIf((thread_id, run_id, step_id), status IN ('failed', 'expired')) AS failed_steps
FROM run_steps_current
ARRAY JOIN tool_names AS tool, tool_types AS kind
GROUP BY tool, kind
ORDER BY calls DESC, tool
LIMIT 50
