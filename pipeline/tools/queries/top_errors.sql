-- The most frequent errors, one line for each fingerprint, with the latest message.
-- Group: errors
-- Set limit UInt32 = 25: how many errors
-- Counts failed and expired steps. The fingerprint is that of the message without ids, numbers and hosts, so one fault
-- is one line.
SELECT
    error_fingerprint AS fingerprint,
    argMax(error_category, (created_at, step_id)) AS category,
    argMax(error_code, (created_at, step_id)) AS code,
    count() AS steps,
    uniqExact(assistant_id) AS assistants,
    min(created_at) AS first_seen,
    max(created_at) AS last_seen,
    substring(argMax(error_message, (created_at, step_id)), 1, 120) AS sample
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired') AND error_fingerprint != ''
GROUP BY error_fingerprint
ORDER BY steps DESC, last_seen DESC, fingerprint
LIMIT {limit:UInt32}
