-- Success rate and latency by assistant, the busiest first.
-- Group: steps
-- Set limit UInt32 = 50: how many assistants
-- Success is completed out of completed, failed and expired. A cancelled step counts neither way.
SELECT
    assistant_id AS assistant,
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
GROUP BY assistant
ORDER BY steps DESC, assistant
LIMIT {limit:UInt32}
