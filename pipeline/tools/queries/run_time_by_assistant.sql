-- Where the time of runs goes, by assistant: model and built-in tools, functions of the client, or no step at all.
-- Group: runs
-- Set limit UInt32 = 50: how many assistants
-- Counts runs that have ended; the three shares add up to 100. Time in which several steps were in progress counts
-- once, as the client's if one of them called a function.
SELECT
    assistant_id AS assistant,
    count() AS runs,
    round(avg(steps), 2) AS steps_a_run,
    round(quantileExact(0.5)(wall_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(wall_ms) / 1000, 3) AS p95_s,
    round(100 * sum(active_ms - client_ms) / nullIf(sum(wall_ms), 0), 2) AS service_percent,
    round(100 * sum(client_ms) / nullIf(sum(wall_ms), 0), 2) AS client_percent,
    round(100 * sum(waiting_ms) / nullIf(sum(wall_ms), 0), 2) AS waiting_percent,
    countIf(failed_steps > 0) AS runs_with_failures
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE status != 'in_progress'
GROUP BY assistant
ORDER BY runs DESC, assistant
LIMIT {limit:UInt32}
