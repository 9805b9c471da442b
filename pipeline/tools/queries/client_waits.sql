-- Time spent waiting on the client in function calls, by function, the longest total first.
-- Group: tools
-- Set limit UInt32 = 50: how many functions
-- A step with function calls lasts from its creation until the client has submitted all outputs, so its duration is the
-- client's time. A step that calls several functions counts in full for each of them: do not add the lines up.
SELECT
    function,
    count() AS steps,
    sum(calls) AS calls,
    round(sum(duration_ms) / 1000, 3) AS waited_s,
    round(quantileExact(0.5)(duration_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(duration_ms) / 1000, 3) AS p95_s,
    round(max(duration_ms) / 1000, 3) AS max_s,
    countIf(status = 'expired') AS expired,
    countIf(status NOT IN ('completed', 'failed', 'cancelled', 'expired')) AS waiting_still
FROM
(
    SELECT
        status,
        duration_ms,
        arrayFilter((name, kind) -> kind = 'function', tool_names, tool_types) AS functions
    FROM run_steps_current
    WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
      AND has(tool_types, 'function')
)
ARRAY JOIN
    arrayDistinct(functions) AS function,
    arrayMap(name -> countEqual(functions, name), arrayDistinct(functions)) AS calls
GROUP BY function
ORDER BY waited_s DESC NULLS LAST, function
LIMIT {limit:UInt32}
