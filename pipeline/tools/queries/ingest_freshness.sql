-- How fresh the tables are: the last record of every partition, its age, and the delay of records.
-- Group: ingest
-- delay is from the Kafka timestamp of a record to its insert. A partition without new records and a stalled one look
-- the same here; the consumer lag distinguishes them. The time range is that of the Kafka timestamps.
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    groupBitmap(toUInt64(kafka_offset)) AS records,
    max(kafka_timestamp) AS last_record,
    max(ingested_at) AS last_ingested,
    dateDiff('second', last_record, now64(3, 'UTC')) AS age_s,
    round(quantileExact(0.5)(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS p50_delay_s,
    round(quantileExact(0.95)(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS p95_delay_s,
    round(max(dateDiff('millisecond', kafka_timestamp, ingested_at)) / 1000, 3) AS max_delay_s
FROM run_step_ledger FINAL
WHERE kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
GROUP BY topic, partition
ORDER BY topic, partition
