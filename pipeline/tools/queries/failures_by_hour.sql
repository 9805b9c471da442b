-- Failed and expired steps of the latest seven days with data, by the hour, with their share of the steps that ended.
-- Group: errors
-- Set days UInt32 = 7: how many days before the last step of the time range
-- Cancelled steps have ended, too, and do not count as failures.
WITH
    (
        SELECT max(created_at) FROM run_steps_current
        WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
    ) AS latest
SELECT
    toStartOfHour(created_at) AS hour,
    countIf(ended_at IS NOT NULL OR status IN ('completed', 'failed', 'cancelled', 'expired')) AS ended,
    countIf(status = 'failed') AS failed,
    countIf(status = 'expired') AS expired,
    round(100 * (failed + expired) / nullIf(ended, 0), 2) AS failed_percent,
    topKIf(3)(error_category, status IN ('failed', 'expired')) AS categories
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND created_at > latest - toIntervalDay({days:UInt32})
GROUP BY hour
ORDER BY hour DESC
