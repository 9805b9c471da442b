-- Error groups that are new this week: first seen in the latest seven days with data, and never before.
-- Group: errors
-- Set days UInt32 = 7: new means first seen within so many days before the last step, and not before --since
-- Set limit UInt32 = 50: how many errors
-- Counts failed and expired steps. Reads the errors of all time, whatever the range, to know which are new.
WITH
    (
        SELECT max(created_at) FROM run_steps_current
        WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
    ) AS latest,
    greatest(latest - toIntervalDay({days:UInt32}), {since:DateTime64(3, 'UTC')}) AS border
SELECT
    min(created_at) AS first_seen,
    max(created_at) AS last_seen,
    count() AS steps,
    uniqExact(assistant_id) AS assistants,
    argMin(error_category, (created_at, step_id)) AS category,
    argMin(error_code, (created_at, step_id)) AS code,
    error_fingerprint AS fingerprint,
    substring(argMin(error_message, (created_at, step_id)), 1, 120) AS sample
FROM run_steps_current
WHERE created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired') AND error_fingerprint != ''
GROUP BY fingerprint
HAVING first_seen >= border
ORDER BY steps DESC, first_seen, fingerprint
LIMIT {limit:UInt32}
