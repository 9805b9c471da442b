-- Tool calls by tool: how often, in how many steps, how long those steps took, how many failed.
-- Group: tools
-- Set limit UInt32 = 50: how many tools
-- A call has no time and no status of its own: these are its step's, shared by all calls of the step. A step counts
-- with its first call of a tool, so that a step with many calls has no more weight in the percentiles.
SELECT
    tool,
    kind,
    count() AS calls,
    countIf(nth = 1) AS steps,
    round(quantileExactIf(0.5)(duration_ms, nth = 1) / 1000, 3) AS p50_s,
    round(quantileExactIf(0.95)(duration_ms, nth = 1) / 1000, 3) AS p95_s,
    countIf(nth = 1 AND status IN ('failed', 'expired')) AS failed_steps,
    countIf(nth = 1 AND status = 'completed') AS completed_steps,
    round(100 * completed_steps / nullIf(completed_steps + failed_steps, 0), 2) AS success_percent
FROM run_steps_current
ARRAY JOIN
    tool_names AS tool,
    tool_types AS kind,
    arrayEnumerateUniq(tool_names, tool_types) AS nth
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY tool, kind
ORDER BY calls DESC, tool, kind
LIMIT {limit:UInt32}
