-- Records hour by hour: how many, their outcomes, and their delay.
-- Group: ingest
-- Set limit UInt32 = 168: how many hours
-- By the hour of the Kafka timestamp. A record that holds several steps counts once for each step.
SELECT
    toStartOfHour(kafka_timestamp) AS hour,
    count() AS rows,
    countIf(outcome = 'stored') AS stored,
    countIf(outcome = 'dead_lettered') AS dead_lettered,
    countIf(outcome = 'ignored') AS ignored,
    round(quantileExact(0.5)(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS p50_delay_s,
    round(quantileExact(0.95)(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS p95_delay_s,
    round(max(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS max_delay_s
FROM run_step_ledger FINAL
WHERE kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
GROUP BY hour
ORDER BY hour DESC
LIMIT {limit:UInt32}
