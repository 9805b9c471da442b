-- Runs by the time they began: how many, how long those that are over took; and all runs of the range.
-- Without HAVING an empty range would have a row, too.
SELECT
    grouping(bucket) AS whole,
    intDiv(toUnixTimestamp64Milli(started_at) - {origin:Int64}, {width:Int64}) AS bucket,
    count() AS runs,
    countIf(failed_steps > 0) AS failed,
    countIf(open_steps > 0) AS open,
    sum(steps) AS steps,
    quantilesExact(0.5, 0.95)(wall_ms) AS percentiles
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
GROUP BY GROUPING SETS ((bucket), ())
HAVING count() > 0
