-- Failures by category: steps, assistants, whether a retry may help, and the tokens they cost.
-- Group: errors
-- Counts failed and expired steps. Their category is never empty; retryable is NULL where it depends on the error.
SELECT
    error_category AS category,
    any(error_retryable) AS retryable,
    count() AS steps,
    round(100 * steps / sum(steps) OVER (), 2) AS percent,
    uniqExact(assistant_id) AS assistants,
    uniqExact(thread_id, run_id) AS runs,
    sum(total_tokens) AS tokens,
    max(created_at) AS last_seen
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired')
GROUP BY category
ORDER BY steps DESC, category
