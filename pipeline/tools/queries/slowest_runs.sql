-- The runs that took longest, and where their time went: critical path, client, waiting.
-- Group: runs
-- Set limit UInt32 = 25: how many runs
-- critical is the critical path, client the time in steps that call functions, which last until the client submits the
-- outputs, waiting the time in which no step was in progress. See the view runs.
-- A first pass reads only what the choice needs; the second reads the chosen runs whole.
WITH
    (
        SELECT groupArray((thread_id, run_id))
        FROM
        (
            SELECT thread_id, run_id
            FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
            WHERE wall_ms IS NOT NULL
            ORDER BY wall_ms DESC, started_at, run_id
            LIMIT {limit:UInt32}
        )
    ) AS chosen
SELECT
    round(wall_ms / 1000, 3) AS wall_s,
    round(active_ms / 1000, 3) AS active_s,
    round(waiting_ms / 1000, 3) AS waiting_s,
    round(client_ms / 1000, 3) AS client_s,
    round(critical_ms / 1000, 3) AS critical_s,
    length(critical_path) AS critical_steps,
    steps,
    failed_steps,
    status,
    started_at,
    tool_names,
    error_category,
    assistant_id,
    thread_id,
    run_id
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE has(chosen, (thread_id, run_id))
ORDER BY wall_ms DESC, started_at, run_id
LIMIT {limit:UInt32}
