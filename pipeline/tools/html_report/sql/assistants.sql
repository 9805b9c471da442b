-- Tokens by assistant, the largest total first.
SELECT
    assistant_id AS assistant,
    count() AS steps,
    countIf(status IN ('failed', 'expired')) AS failed,
    sum(prompt_tokens) AS input,
    sum(completion_tokens) AS output,
    sum(total_tokens) AS total,
    sum(cached_tokens) AS cached,
    sum(reasoning_tokens) AS reasoning
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY assistant
ORDER BY total DESC NULLS LAST, assistant
LIMIT 20
