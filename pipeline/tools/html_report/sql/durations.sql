-- Percentiles of completed steps over time, exact, and of the whole range.
-- Without HAVING an empty range would have a row, too.
SELECT
    grouping(bucket) AS whole,
    intDiv(toUnixTimestamp64Milli(created_at) - {origin:Int64}, {width:Int64}) AS bucket,
    quantilesExact(0.5, 0.95, 0.99)(duration_ms) AS percentiles,
    max(duration_ms) AS longest
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND status = 'completed' AND duration_ms IS NOT NULL
GROUP BY GROUPING SETS ((bucket), ())
HAVING count() > 0
