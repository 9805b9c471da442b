-- Creation times of the oldest and newest step, for a page about an empty range.
SELECT
    count() AS steps,
    toUnixTimestamp64Milli(min(created_at)) AS oldest,
    toUnixTimestamp64Milli(max(created_at)) AS newest
FROM run_steps_current
