-- Tokens by assistant, the largest total first.
-- Group: tokens
-- Set limit UInt32 = 50: how many assistants
SELECT
    assistant_id AS assistant,
    count() AS steps,
    sum(prompt_tokens) AS prompt,
    sum(completion_tokens) AS completion,
    sum(total_tokens) AS total,
    sum(cached_tokens) AS cached,
    sum(reasoning_tokens) AS reasoning,
    countIf(total_tokens IS NULL) AS steps_without_usage
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY assistant_id
ORDER BY total DESC NULLS LAST, assistant
LIMIT {limit:UInt32}
