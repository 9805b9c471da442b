-- Tokens day by day, and how that compares with the seven days before.
-- Group: tokens
-- Set assistant String = : only steps of this assistant; all by default
-- Set limit UInt32 = 90: how many days
-- The trend compares with the mean of those of the seven days before that have steps and lie in the time range; NULL
-- where there are none, or where they used no tokens.
SELECT
    day,
    steps,
    prompt,
    completion,
    total,
    cached,
    round(total / nullIf(steps_with_usage, 0), 1) AS tokens_a_step,
    round(100 * (total / nullIf(avg(toNullable(total)) OVER week, 0) - 1), 1) AS trend_percent
FROM
(
    SELECT
        toDate(created_at) AS day,
        count() AS steps,
        count(total_tokens) AS steps_with_usage,
        sum(prompt_tokens) AS prompt,
        sum(completion_tokens) AS completion,
        ifNull(sum(total_tokens), 0) AS total,
        sum(cached_tokens) AS cached
    FROM run_steps_current
    WHERE created_at >= {since:DateTime64(3, 'UTC')} AND created_at < {until:DateTime64(3, 'UTC')}
      AND (assistant_id = {assistant:String} OR {assistant:String} = '')
    GROUP BY day
)
WINDOW week AS (ORDER BY toInt32(day) RANGE BETWEEN 7 PRECEDING AND 1 PRECEDING)
ORDER BY day DESC
LIMIT {limit:UInt32}
