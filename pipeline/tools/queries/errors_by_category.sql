-- What went wrong, by category: how many steps and assistants, whether to try again, and the tokens it cost.
-- Group: errors
-- Of failed and expired steps. The category is never empty there; retryable is NULL where that depends.
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
