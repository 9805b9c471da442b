-- Tool calls by tool, and the steps they belong to: a step counts with its first call of a tool.
SELECT
    tool,
    kind,
    count() AS calls,
    countIf(nth = 1) AS steps,
    quantilesExactIf(0.5, 0.95)(duration_ms, nth = 1) AS percentiles,
    countIf(nth = 1 AND status IN ('failed', 'expired')) AS failed
FROM run_steps_current
ARRAY JOIN tool_names AS tool, tool_types AS kind, arrayEnumerateUniq(tool_names, tool_types) AS nth
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY tool, kind
ORDER BY calls DESC, tool, kind
LIMIT 20
