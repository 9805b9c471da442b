-- Time spent waiting on the client in function calls, by function, the longest total first.
-- Group: tools
-- Set limit UInt32 = 50: how many functions
-- A step with function calls lasts from its creation until the client has submitted all outputs, so its duration is the
-- client's time. A step that calls several functions counts in full for each of them: do not add the lines up.
-- A step counts with its first call of a function.
SELECT
    function,
    countIf(nth = 1) AS steps,
    count() AS calls,
    round(sumIf(duration_ms, nth = 1) / 1000, 3) AS waited_s,
    round(quantileExactIf(0.5)(duration_ms, nth = 1) / 1000, 3) AS p50_s,
    round(quantileExactIf(0.95)(duration_ms, nth = 1) / 1000, 3) AS p95_s,
    round(maxIf(duration_ms, nth = 1) / 1000, 3) AS max_s,
    countIf(nth = 1 AND status = 'expired') AS expired,
    countIf(nth = 1 AND status NOT IN ('completed', 'failed', 'cancelled', 'expired')) AS waiting_still
FROM run_steps_current
ARRAY JOIN
    tool_names AS function,
    tool_types AS kind,
    -- By name and type: the first call of a function, whatever else has its name.
    arrayEnumerateUniq(tool_names, tool_types) AS nth
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND kind = 'function'
GROUP BY function
ORDER BY waited_s DESC NULLS LAST, function
LIMIT {limit:UInt32}
