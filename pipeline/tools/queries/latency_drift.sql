-- Assistants and types whose steps became slower: the latest day of data against the seven days before it.
-- Group: latency
-- Set hours UInt32 = 24: length of the latest period, in hours
-- Set days UInt32 = 7: length of the period before it, in days
-- Set least UInt32 = 20: least number of completed steps in each period
-- Compares completed steps only, since failures end early or at a limit. The latest period ends with the last step
-- before until.
WITH
    (
        SELECT max(created_at) FROM run_steps_current
        WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
    ) AS latest,
    latest - toIntervalHour({hours:UInt32}) AS border
SELECT
    assistant_id AS assistant,
    type,
    countIf(created_at > border) AS steps,
    countIf(created_at <= border) AS steps_before,
    round(quantileExactIf(0.5)(duration_ms, created_at > border) / 1000, 3) AS p50_s,
    round(quantileExactIf(0.5)(duration_ms, created_at <= border) / 1000, 3) AS p50_before_s,
    round(quantileExactIf(0.95)(duration_ms, created_at > border) / 1000, 3) AS p95_s,
    round(quantileExactIf(0.95)(duration_ms, created_at <= border) / 1000, 3) AS p95_before_s,
    round(100 * (p95_s / p95_before_s - 1), 1) AS p95_change_percent
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND created_at > border - toIntervalDay({days:UInt32})
  AND status = 'completed' AND duration_ms IS NOT NULL
GROUP BY assistant, type
HAVING steps >= {least:UInt32} AND steps_before >= {least:UInt32} AND p95_before_s > 0
ORDER BY p95_change_percent DESC, assistant, type
LIMIT 50
