-- Records that are no steps here: dead-lettered and ignored ones by reason, and where the last one lies.
-- Group: ingest
-- `runstep dlq list` shows the dead letters themselves. The span is about when Kafka got the records.
SELECT
    outcome,
    reason,
    count() AS records,
    min(kafka_timestamp) AS first_seen,
    max(kafka_timestamp) AS last_seen,
    argMax(concat(kafka_topic, '/', toString(kafka_partition), ':', toString(kafka_offset)),
        (kafka_timestamp, kafka_offset)) AS last_place
FROM run_step_ledger FINAL
WHERE kafka_timestamp >= {since:DateTime64(3, 'UTC')} AND kafka_timestamp < {until:DateTime64(3, 'UTC')}
  AND outcome != 'stored'
GROUP BY outcome, reason
ORDER BY records DESC, outcome, reason
