-- The most steps in progress at the same time, in all and by assistant, and when that was.
-- Group: steps
-- Set limit UInt32 = 50: how many lines
-- Counts steps that have ended; one without a duration is never parallel to another.
WITH
    toUnixTimestamp64Milli(created_at) AS begin,
    toUnixTimestamp64Milli(assumeNotNull(ended_at)) AS end
SELECT
    if(grouping(assistant_id) = 1, 'all assistants', assistant_id) AS assistant,
    maxIntersections(begin, end) AS at_once,
    fromUnixTimestamp64Milli(maxIntersectionsPosition(begin, end), 'UTC') AS at,
    count() AS steps
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND ended_at > created_at
GROUP BY GROUPING SETS ((assistant_id), ())
HAVING steps > 0 -- the whole of nothing would be a line, too
ORDER BY at_once DESC, steps DESC, assistant
LIMIT {limit:UInt32}
