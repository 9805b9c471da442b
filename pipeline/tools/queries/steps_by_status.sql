-- Steps by type and status, with the percentiles of their duration in seconds.
-- Group: steps
-- A step that has not ended, or reported no end, has no duration and is in no percentile.
SELECT
    type,
    status,
    count() AS steps,
    round(quantileExact(0.5)(duration_ms) / 1000, 3) AS p50_s,
    round(quantileExact(0.95)(duration_ms) / 1000, 3) AS p95_s,
    round(quantileExact(0.99)(duration_ms) / 1000, 3) AS p99_s,
    round(max(duration_ms) / 1000, 3) AS max_s,
    max(created_at) AS latest
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY type, status
ORDER BY steps DESC, type, status
