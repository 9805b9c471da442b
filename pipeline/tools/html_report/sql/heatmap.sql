-- Ended steps by time and duration: `bin` is the number of bounds that the duration exceeds.
SELECT
    intDiv(toUnixTimestamp64Milli(created_at) - {origin:Int64}, {width:Int64}) AS bucket,
    arrayCount(bound -> duration_ms > bound, {bounds:Array(UInt64)}) AS bin,
    count() AS steps
FROM run_steps_current
WHERE created_at >= {since:DateTime64(3, 'UTC')}
  AND created_at < {until:DateTime64(3, 'UTC')}
  AND duration_ms IS NOT NULL
GROUP BY bucket, bin
