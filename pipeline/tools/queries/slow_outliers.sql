-- Completed steps that took many times the median of their assistant, type and tools.
-- Group: latency
-- Set times UInt32 = 5: least multiple of the median
-- Set least UInt32 = 20: least number of steps with the same assistant, type and tools
-- Set limit UInt32 = 50: how many steps
-- Each step is compared with the median of its own kind, since a second is long for one tool and short for another.
-- Outliers do not move a median. Failed and expired steps are left out: a limit decides how long they take.
WITH arraySort(arrayDistinct(tool_names)) AS tools
SELECT
    round(duration_ms / usual_ms, 1) AS times_usual,
    round(duration_ms / 1000, 3) AS seconds,
    round(usual_ms / 1000, 3) AS usual_s,
    type,
    tools,
    assistant_id AS assistant,
    of_kind,
    created_at,
    thread_id,
    run_id,
    step_id
FROM run_steps_current
-- By a hash, which is compared much faster than two texts and an array.
INNER JOIN
(
    SELECT
        cityHash64(assistant_id, type, tools) AS kind,
        quantileExact(0.5)(duration_ms) AS usual_ms,
        count() AS of_kind
    FROM run_steps_current
    WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
      AND status = 'completed' AND duration_ms IS NOT NULL
    GROUP BY kind
    HAVING of_kind >= {least:UInt32} AND usual_ms > 0
) AS usual ON cityHash64(assistant_id, type, tools) = usual.kind
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status = 'completed' AND duration_ms IS NOT NULL
  AND duration_ms >= {times:UInt32} * usual_ms
ORDER BY duration_ms / usual_ms DESC, created_at, step_id
LIMIT {limit:UInt32}
