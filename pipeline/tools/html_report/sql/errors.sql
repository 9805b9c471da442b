-- Failed and expired steps by fingerprint, with the latest message of each group.
SELECT
    error_fingerprint AS fingerprint,
    error_category AS category,
    argMax(error_code, (created_at, step_id)) AS code,
    substring(argMax(error_message, (created_at, step_id)), 1, 400) AS message,
    count() AS steps,
    uniqExact(thread_id, run_id) AS runs,
    min(created_at) AS first_seen,
    max(created_at) AS last_seen
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired')
GROUP BY fingerprint, category
ORDER BY steps DESC, last_seen DESC, fingerprint
LIMIT 25
