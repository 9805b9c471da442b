-- Failed and expired steps over time by category.
SELECT
    intDiv(toUnixTimestamp64Milli(created_at) - {origin:Int64}, {width:Int64}) AS bucket,
    if(has({categories:Array(String)}, error_category), error_category, 'other') AS category,
    count() AS steps
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND status IN ('failed', 'expired')
GROUP BY bucket, category
