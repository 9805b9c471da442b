-- Success rate and latency hour by hour, the latest first.
-- Group: steps
-- Set assistant String = : only steps of this assistant; all by default
-- Set limit UInt32 = 168: how many hours that have steps
-- Success is completed out of completed, failed and expired. A cancelled step counts neither way.
-- By the hour in which a step was created, so steps still in progress change the latest hours.
SELECT
    toStartOfHour(created_at) AS hour,
    count() AS steps,
    countIf(status = 'completed') AS completed,
    countIf(status IN ('failed', 'expired')) AS bad,
    countIf(status = 'cancelled') AS cancelled,
    steps - completed - bad - cancelled AS open,
    if(completed + bad = 0, NULL, round(100 * completed / (completed + bad), 2)) AS success_percent,
    round(quantileExact(0.5)(duration_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(duration_ms) / 1000, 3) AS p95_s,
    round(quantileExact(0.99)(duration_ms) / 1000, 3) AS p99_s
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND (assistant_id = {assistant:String} OR {assistant:String} = '')
GROUP BY hour
ORDER BY hour DESC
LIMIT {limit:UInt32}
