-- The runs that used the most tokens.
-- Group: tokens
-- Set limit UInt32 = 25: how many runs
-- A first pass reads only what the choice needs; the second reads the chosen runs whole.
WITH
    (
        SELECT groupArray((thread_id, run_id))
        FROM
        (
            SELECT thread_id, run_id
            FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
            WHERE total_tokens > 0
            ORDER BY total_tokens DESC, started_at, run_id
            LIMIT {limit:UInt32}
        )
    ) AS chosen
SELECT
    total_tokens AS total,
    prompt_tokens AS prompt,
    completion_tokens AS completion,
    steps,
    tool_calls,
    status,
    started_at,
    assistant_id,
    thread_id,
    run_id
FROM runs_between(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE has(chosen, (thread_id, run_id))
ORDER BY total DESC, started_at, run_id
LIMIT {limit:UInt32}
