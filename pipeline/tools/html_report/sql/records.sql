-- Kafka records over time by outcome. A record with several steps counts once, with its worst outcome.
WITH
    asked AS
    (
        SELECT kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, step_index, outcome, reason, ingested_at
        FROM run_step_ledger FINAL
        WHERE ingested_at >= {since:DateTime64(3, 'UTC')}
          AND ingested_at < {until:DateTime64(3, 'UTC')}
    ),
    of_several AS
    (
        SELECT kafka_topic, kafka_partition, kafka_offset FROM asked WHERE step_index > 0
    )
SELECT
    intDiv(toUnixTimestamp64Milli(ingested_at) - {origin:Int64}, {width:Int64}) AS bucket,
    outcome,
    reason,
    count() AS records
FROM
(
    SELECT outcome, reason, ingested_at
    FROM asked
    WHERE (kafka_topic, kafka_partition, kafka_offset) NOT IN (of_several)
    UNION ALL
    SELECT worst.1 AS outcome, worst.2 AS reason, read_at AS ingested_at
    FROM
    (
        SELECT
            argMax((outcome, reason), (indexOf(['ignored', 'stored', 'dead_lettered'], outcome), -step_index)) AS worst,
            max(ingested_at) AS read_at
        FROM asked
        WHERE (kafka_topic, kafka_partition, kafka_offset) IN (of_several)
        GROUP BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp
    )
)
GROUP BY bucket, outcome, reason
