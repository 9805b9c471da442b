-- Runs by status: how many, how long, how many steps, and how much of the time no step was in progress.
-- Group: runs
-- Derived from the steps, see the view runs: wall is from the first step to the last moment, active is the time in
-- which a step was in progress, waiting is the rest.
SELECT
    status,
    count() AS runs,
    round(avg(steps), 2) AS steps_a_run,
    round(quantileExact(0.5)(wall_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(wall_ms) / 1000, 3) AS p95_s,
    round(max(wall_ms) / 1000, 3) AS max_s,
    round(100 * sum(waiting_ms) / nullIf(sum(wall_ms), 0), 2) AS waiting_percent,
    sum(failed_steps) AS failed_steps
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
GROUP BY status
ORDER BY runs DESC, status
