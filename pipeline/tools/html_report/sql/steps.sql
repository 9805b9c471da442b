-- Steps over time. Unknown types and statuses are 'other': producers may send any text, a chart holds a few series.
SELECT
    intDiv(toUnixTimestamp64Milli(created_at) - {origin:Int64}, {width:Int64}) AS bucket,
    if(has({types:Array(String)}, type), type, 'other') AS kind,
    if(has({statuses:Array(String)}, status), status, 'other') AS state,
    count() AS steps
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
GROUP BY bucket, kind, state
