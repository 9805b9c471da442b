-- From when to when there are steps at all, for whoever asked for another time.
SELECT
    count() AS steps,
    toUnixTimestamp64Milli(min(created_at)) AS oldest,
    toUnixTimestamp64Milli(max(created_at)) AS newest
FROM run_steps_current
