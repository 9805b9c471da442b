-- From the Kafka timestamp of a record to its row: percentiles over time and of the whole range.
-- Without HAVING an empty range would have a row, too.
SELECT
    grouping(bucket) AS whole,
    intDiv(toUnixTimestamp64Milli(ingested_at) - {origin:Int64}, {width:Int64}) AS bucket,
    quantilesExact(0.5, 0.95, 0.99)(greatest(0, toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(kafka_timestamp)))
        AS percentiles,
    max(ingested_at) AS newest
FROM run_step_ledger FINAL
WHERE ingested_at >= {since:DateTime64(3, 'UTC')}
  AND ingested_at < {until:DateTime64(3, 'UTC')}
  AND step_index = 0
GROUP BY GROUPING SETS ((bucket), ())
HAVING count() > 0
