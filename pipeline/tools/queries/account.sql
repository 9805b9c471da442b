-- Every Kafka partition: records read = stored + dead-lettered + ignored, and the gaps in its offsets.
-- Group: ingest
-- A gap is no loss by itself: transactions and compaction leave gaps, and a group may have started late; `runstep
-- audit` explains each. The bitmaps count distinct offsets in little memory. A record that holds several steps counts
-- once, with its worst outcome. The time range is that of the Kafka timestamps.
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    groupBitmap(toUInt64(kafka_offset)) AS records,
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'stored') AS good, dead) AS stored,
    bitmapCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'dead_lettered') AS dead) AS dead_lettered,
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'ignored'), bitmapOr(good, dead))
        AS ignored,
    min(kafka_offset) AS first_offset,
    max(kafka_offset) AS last_offset,
    last_offset - first_offset + 1 - records AS gaps,
    max(ingested_at) AS last_ingested
FROM run_step_ledger FINAL
WHERE kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
GROUP BY topic, partition
ORDER BY topic, partition
