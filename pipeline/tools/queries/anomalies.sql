-- Irregularities that were repaired or left open in stored steps, by anomaly and dialect.
-- Group: ingest
-- A step can have several. All of these steps are stored.
SELECT
    anomaly,
    dialect,
    count() AS steps,
    uniqExact(assistant_id) AS assistants,
    min(created_at) AS first_created,
    max(created_at) AS last_created,
    argMax(step_id, (created_at, step_id)) AS last_step
FROM run_steps_current
ARRAY JOIN arrayDistinct(anomalies) AS anomaly
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY anomaly, dialect
ORDER BY steps DESC, anomaly, dialect
