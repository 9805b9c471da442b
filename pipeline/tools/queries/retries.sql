-- Failed steps that were retried, by error category, and how the next try ended.
-- Group: errors
-- Set minutes UInt32 = 10: most minutes between a failure and its retry
-- No event marks a retry. Here a retry is the first step of the same thread, assistant and type that was created at
-- or after the end of a failed or expired one and at most so many minutes later, in the same run or in the next. A user
-- who asks something else within that time looks the same, so the numbers are an upper bound. A retry that fails is a
-- failure with a retry of its own. The time range is that of the failures; their retries may be later.
WITH
    (failed, thread) -> arrayFirst(
        next -> (next.1, next.2) > (failed.1, failed.2) AND next.1 >= failed.3
            AND next.1 <= failed.3 + toIntervalMinute({minutes:UInt32}),
        thread
    ) AS retry_of,
    dateDiff('millisecond', failed.3, retry.1) AS wait_ms
SELECT
    failed.5 AS category,
    count() AS failures,
    countIf(retry.2 != '') AS retried,
    round(100 * retried / failures, 2) AS retried_percent,
    countIf(retry.4 = 'completed') AS succeeded,
    countIf(retry.4 IN ('failed', 'expired')) AS failed_again,
    retried - succeeded - failed_again AS cancelled_or_open,
    countIf(retry.2 != '' AND retry.6 = failed.6) AS in_the_same_run,
    if(retried = 0, NULL, round(quantileExactIf(0.5)(wait_ms, retry.2 != '') / 1000, 3)) AS p50_wait_s
FROM
(
    SELECT
        arraySort(groupArray((
            created_at, step_id, greatest(created_at, ifNull(ended_at, created_at)), toString(status),
            toString(error_category), run_id
        ))) AS thread
    FROM run_steps_current
    WHERE created_at >= {since:DateTime64(3, 'UTC')}
      AND thread_id IN
      (
          SELECT thread_id FROM run_steps_current
          WHERE status IN ('failed', 'expired')
            AND created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
      )
    -- Some servers name no thread: there only a step of the same run can be a retry.
    GROUP BY thread_id, if(thread_id = '', run_id, ''), assistant_id, type
)
ARRAY JOIN
    arrayFilter(step -> step.4 IN ('failed', 'expired') AND step.1 < {until:DateTime64(3, 'UTC')}, thread) AS failed,
    arrayMap(step -> retry_of(step, thread),
        arrayFilter(step -> step.4 IN ('failed', 'expired') AND step.1 < {until:DateTime64(3, 'UTC')}, thread)) AS retry
GROUP BY category
ORDER BY failures DESC, category
