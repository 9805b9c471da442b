-- Records without a step: dead-lettered and ignored ones by reason, and the place of the last one.
-- Group: ingest
-- A record that holds several steps counts once a line, however many of them were rejected for that reason. The
-- bitmaps count distinct offsets in little memory. `runstep dlq list` shows the dead letters themselves. The time range
-- is that of the Kafka timestamps.
SELECT
    outcome,
    reason,
    sum(refused) AS records,
    min(first_here) AS first_seen,
    max(last_here) AS last_seen,
    argMax(concat(topic, '/', toString(partition), ':', toString(last_offset)), (last_here, last_offset)) AS last_place
FROM
(
    SELECT
        outcome,
        reason,
        kafka_topic AS topic,
        kafka_partition AS partition,
        groupBitmap(toUInt64(kafka_offset)) AS refused,
        min(kafka_timestamp) AS first_here,
        max(kafka_timestamp) AS last_here,
        argMax(kafka_offset, (kafka_timestamp, kafka_offset)) AS last_offset
    FROM run_step_ledger FINAL
    WHERE kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
      AND outcome != 'stored'
    GROUP BY outcome, reason, topic, partition
)
GROUP BY outcome, reason
ORDER BY records DESC, outcome, reason
