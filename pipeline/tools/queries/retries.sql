-- Failed steps that were retried, by error category, and how the next try ended.
-- Group: errors
-- Set minutes UInt32 = 10: most minutes between a failure and its retry
-- No event marks a retry. Here a retry is the first step of the same thread, assistant and type that was created at
-- or after the end of a failed or expired one and at most so many minutes later, in the same run or in the next. A user
-- who asks something else within that time looks the same, so the numbers are an upper bound. A retry that fails is a
-- failure with a retry of its own. The time range is that of the failures; their retries may be later.
-- Every step stands at its creation and a failed one also at its end, so the retry is the next step of that order: one
-- pass over a thread, however many of its steps failed.
WITH
    status IN ('failed', 'expired') AS has_failed,
    greatest(created_at, ifNull(ended_at, created_at)) AS end
SELECT
    category,
    count() AS failures,
    countIf(is_retried) AS retried,
    round(100 * retried / failures, 2) AS retried_percent,
    countIf(is_retried AND retry.3 = 'completed') AS succeeded,
    countIf(is_retried AND retry.3 IN ('failed', 'expired')) AS failed_again,
    retried - succeeded - failed_again AS cancelled_or_open,
    countIf(is_retried AND retry.4 = run) AS in_the_same_run,
    if(retried = 0, NULL, round(quantileExactIf(0.5)(dateDiff('millisecond', ended, retry.1), is_retried) / 1000, 3))
        AS p50_wait_s
FROM
(
    SELECT
        toString(error_category) AS category,
        run_id AS run,
        created_at AS created,
        place.1 AS ended,
        place.3 AS is_end,
        argMinIf((created_at, step_id, toString(status), run_id), (created_at, step_id), NOT is_end) OVER later AS retry,
        retry.2 != '' AND retry.1 <= ended + toIntervalMinute({minutes:UInt32}) AS is_retried
    FROM run_steps_current
    -- A step that took no time is followed by those behind it in the order of ids; else also a step at its end counts.
    ARRAY JOIN if(
        has_failed,
        [(created_at, step_id, false), (end, if(end = created_at, step_id, ''), true)],
        [(created_at, step_id, false)]
    ) AS place
    WHERE created_at >= {since:DateTime64(3, 'UTC')}
      AND thread_id IN
      (
          SELECT thread_id FROM run_steps_current
          WHERE status IN ('failed', 'expired')
            AND created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
      )
    WINDOW later AS
    (
        -- Some servers name no thread: there only a step of the same run can be a retry.
        PARTITION BY thread_id, if(thread_id = '', run_id, ''), assistant_id, type
        ORDER BY place.1 DESC, place.2 DESC, place.3 DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
)
WHERE is_end AND created < {until:DateTime64(3, 'UTC')}
GROUP BY category
ORDER BY failures DESC, category
