-- Tokens over time.
SELECT
    intDiv(toUnixTimestamp64Milli(created_at) - {origin:Int64}, {width:Int64}) AS bucket,
    sum(prompt_tokens) AS input,
    sum(completion_tokens) AS output,
    sum(total_tokens) AS total
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY bucket
