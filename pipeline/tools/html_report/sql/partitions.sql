-- Offsets of every partition. Bitmaps count distinct offsets: a record with several steps counts once, as its worst.
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    groupBitmap(toUInt64(kafka_offset)) AS records,
    bitmapCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'dead_lettered') AS dead) AS dead_lettered,
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'stored') AS good, dead) AS stored,
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'ignored'), bitmapOr(good, dead))
        AS ignored,
    min(kafka_offset) AS first_offset,
    max(kafka_offset) AS last_offset,
    last_offset - first_offset + 1 - records AS gaps,
    max(ingested_at) AS newest
FROM run_step_ledger FINAL
WHERE ingested_at >= {since:DateTime64(3, 'UTC')}
  AND ingested_at < {until:DateTime64(3, 'UTC')}
GROUP BY topic, partition
ORDER BY topic, partition
LIMIT 200
