"""The SQL of the board "Ingest pipeline": the latest dead letters, from the ledger."""

from typing import Final

from deploy.grafana.queries.choices import values

# Bounded by the time of storing: the ledger is sorted by offset, not by time.
DEAD_LETTERS: Final = f"""\
SELECT
    max(ingested_at) AS rejected_at,
    any(reason) AS reason,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp AS produced_at,
    any(run_id) AS run,
    any(step_id) AS step
FROM run_step_ledger
WHERE outcome = 'dead_lettered'
  AND $__timeFilter(ingested_at)
  AND $__conditionalAll(kafka_topic IN ({values("topic")}), $topic)
GROUP BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, step_index
ORDER BY rejected_at DESC
LIMIT 100"""
