-- One run step by step: begin, duration, what each step waited for, and whether it is on the critical path.
-- Group: runs
-- Set run String = : id of the run; by default that of the latest step
-- Set thread String = : id of its thread, where several threads have this run id
-- gap_s is the time since the latest end of all earlier steps; negative where steps overlap. The time range decides
-- which run is the latest; a run is shown whole.
WITH
    (
        SELECT max(created_at) FROM run_steps_current
        WHERE {run:String} = ''
          AND created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
    ) AS latest,
    (
        SELECT argMax((thread_id, run_id), (created_at, step_id)) FROM run_steps_current
        WHERE {run:String} = '' AND created_at = latest
    ) AS latest_run
SELECT
    round(dateDiff('millisecond', run.started_at, created_at) / 1000, 3) AS at_s,
    round(duration_ms / 1000, 3) AS seconds,
    max(toNullable(ifNull(ended_at, created_at))) OVER earlier AS ended_before,
    round(dateDiff('millisecond', ended_before, created_at) / 1000, 3) AS gap_s,
    -- As a set: joined to each step, the path would be there as often as the run has steps.
    (thread_id, run_id, step_id) IN
    (
        SELECT thread_id, run_id, arrayJoin(critical_path) FROM runs
        WHERE run_id = if({run:String} = '', latest_run.2, {run:String})
    ) AS is_critical,
    type,
    status,
    tool_names,
    total_tokens,
    error_category,
    thread_id,
    run_id,
    step_id
FROM run_steps_current
INNER JOIN
(
    SELECT thread_id, run_id, started_at FROM runs
    WHERE run_id = if({run:String} = '', latest_run.2, {run:String})
) AS run USING (thread_id, run_id)
WHERE run_id = if({run:String} = '', latest_run.2, {run:String})
  AND (thread_id = latest_run.1 OR {run:String} != '')
  AND (thread_id = {thread:String} OR {thread:String} = '')
WINDOW earlier AS
(
    PARTITION BY thread_id, run_id ORDER BY created_at, ended_at, step_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
ORDER BY thread_id, created_at, ended_at, step_id
