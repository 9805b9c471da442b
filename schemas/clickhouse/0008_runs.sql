-- Runs, rebuilt from their steps: one row a run. What a run itself says is in no table; these are its steps' words.
--
-- status      in_progress while a step has not ended, else the status of the step that was created last. A run whose
--             next step is still to come looks ended, and a run without steps is not here.
-- ended_at    the last moment its steps tell of; NULL while a step has not ended.
-- wall_ms     from its first step's creation until then.
-- active_ms   the union of its steps' intervals: parallel steps count once, steps that tell no end not at all.
-- waiting_ms  wall less active: no step was at work. The queue, the poll, the caller between two steps.
-- client_ms   the union of the intervals of steps that call functions. Such a step lasts until the client has submitted
--             the outputs, so this is time spent waiting on the client's own code; it is part of active_ms.
-- critical_path, critical_ms
--             the chain of steps that the end hangs on, in their order, and how long they took together: the step that
--             ended last, before it the step that ended last among those that had ended when it was created, and so on.
--             Of equals the one created last is taken. A step beside the chain could have been faster for nothing.
-- failed_steps  failed and expired ones, as runstep_step_failures_total counts; cancelled steps are no failures.
-- error_…     of its first failed or expired step.
--
-- A condition on thread_id or run_id reaches the indexes of run_steps. One on a time does not: a run has to be put
-- together before it has any, from all steps there are. So runs_between takes the span as parameters, and reads the
-- steps of the span, and of a day before and after it for the runs that reach beyond it. It shows the runs that began
-- in the span, until exclusive. Wrong there are only runs that go on for more than a day after the span, whose last
-- steps are missing, and runs that paused for more than a day before it, which seem to begin in it.
-- DEFINER: a reader needs SELECT on these views only.
CREATE VIEW IF NOT EXISTS ${database}.runs_between${on_cluster}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH arrayFold(
    -- So far: the creation of the chain's first step, how long the chain took, its steps. Next: end, creation, id.
    (chain, step) -> if(
        step.1 <= chain.1,
        (step.2, chain.2 + step.1 - step.2, arrayPushFront(chain.3, step.3)),
        chain
    ),
    arrayReverseSort(groupArrayIf((until_ms, from_ms, step_id), has_ended)),
    (toInt64(9223372036854775807), toInt64(0), emptyArrayString())
) AS chain
SELECT
    thread_id,
    run_id,
    -- A run has one; some servers leave it out of some of its steps.
    max(assistant) AS assistant_id,
    if(open_steps > 0, 'in_progress', argMax(step_status, position)) AS status,
    min(created) AS started_at,
    if(open_steps > 0, NULL, fromUnixTimestamp64Milli(max(until_ms), 'UTC')) AS ended_at,
    count() AS steps,
    countIf(is_open) AS open_steps,
    countIf(is_failed) AS failed_steps,
    if(open_steps > 0, NULL, toUInt64(max(until_ms) - min(from_ms))) AS wall_ms,
    toUInt64(intervalLengthSum(from_ms, until_ms)) AS active_ms,
    wall_ms - active_ms AS waiting_ms,
    toUInt64(intervalLengthSumIf(from_ms, until_ms, asks_client)) AS client_ms,
    toUInt64(chain.2) AS critical_ms,
    chain.3 AS critical_path,
    sum(calls) AS tool_calls,
    arraySort(groupUniqArrayArray(tools)) AS tool_names,
    sum(prompt) AS prompt_tokens,
    sum(completion) AS completion_tokens,
    sum(total) AS total_tokens,
    argMinIf(step_id, position, is_failed) AS error_step_id,
    argMinIf(category, position, is_failed) AS error_category,
    argMinIf(code, position, is_failed) AS error_code,
    argMinIf(message, position, is_failed) AS error_message
FROM
(
    SELECT
        thread_id,
        run_id,
        step_id,
        (created_at, until_ms, step_id) AS position,
        created_at AS created,
        ended_at IS NOT NULL AS has_ended,
        toUnixTimestamp64Milli(created_at) AS from_ms,
        -- A step that tells no end, or one before its beginning, still is a moment of the run.
        greatest(from_ms, ifNull(toUnixTimestamp64Milli(ended_at), from_ms)) AS until_ms,
        assistant_id AS assistant,
        toString(status) AS step_status,
        status NOT IN ('completed', 'failed', 'cancelled', 'expired') AS is_open,
        status IN ('failed', 'expired') AS is_failed,
        type = 'tool_calls' AND has(tool_types, 'function') AS asks_client,
        tool_call_count AS calls,
        tool_names AS tools,
        prompt_tokens AS prompt,
        completion_tokens AS completion,
        total_tokens AS total,
        error_category AS category,
        error_code AS code,
        error_message AS message
    FROM ${database}.run_steps_current
    WHERE created_at >= {since:DateTime64(3, 'UTC')} - toIntervalDay(1)
      AND created_at < {until:DateTime64(3, 'UTC')} + toIntervalDay(1)
)
GROUP BY thread_id, run_id
HAVING started_at >= {since:DateTime64(3, 'UTC')} AND started_at < {until:DateTime64(3, 'UTC')};

-- All of them: for one run or one thread. A shard is sent these times as their seconds since the epoch, and reads nine
-- or ten digits; no step is older.
CREATE VIEW IF NOT EXISTS ${database}.runs${on_cluster}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT *
FROM ${database}.runs_between(since = '1973-03-05 00:00:00', until = '2286-11-18 00:00:00');
