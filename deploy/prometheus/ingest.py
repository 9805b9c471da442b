"""Alerts on the way of the records: do they become rows, in time, and all of them.

The backlog's age, unlike the number of records in it, means the same at every rate, so alerts look at the age.
"""

from collections.abc import Sequence
from typing import Final

from deploy.prometheus.rules import Alert, Record, Rule

LAG: Final = "job_topic_partition:runstep_consumer_lag_records:max"
TOPIC_LAG: Final = "job_topic:runstep_consumer_lag_records:sum"
BACKLOG_AGE: Final = "job_topic:runstep_consumer_backlog_age_seconds:max"
INSERT_FAILURES: Final = "job:runstep_insert_failures_per_insert:ratio_rate10m"
BUFFER_WAIT: Final = "job_instance:runstep_buffer_wait_seconds:avg10m"


def rules() -> Sequence[Rule]:
    """Return everything about the records' way."""
    return [*_backlog(), *_inserts(), *_standstill()]


def _backlog() -> list[Rule]:
    return [
        Record(
            LAG,
            "max by (job, topic, partition) (runstep_consumer_lag_records{JOB})",
            "Two members report a partition for a moment when it moves, so the larger value is the truth and the sum "
            "is not.",
        ),
        Record(TOPIC_LAG, f"sum by (job, topic) ({LAG}{{JOB}})"),
        Record(
            BACKLOG_AGE,
            f"""
            max by (job, topic) (
              (time() - max by (job, topic, partition) (runstep_consumer_position_timestamp_seconds{{JOB}}))
              * ({LAG}{{JOB}} > bool 0)
            )
            """,
            "0 where nothing waits.",
        ),
        Alert(
            "RunStepConsumerLagGrowing",
            f"{BACKLOG_AGE}{{JOB}} > 300\nand deriv({TOPIC_LAG}{{JOB}}[15m]) > 0",
            "ticket",
            "The backlog of {{ $labels.topic }} grows",
            "The oldest waiting record of {{ $labels.topic }} is {{ $value | humanizeDuration }} old, and the lag has "
            "been growing for 15 minutes: more is produced than is read.",
            wait="15m",
            linger="5m",
        ),
    ]


def _inserts() -> list[Rule]:
    return [
        Record(
            INSERT_FAILURES,
            """
            sum by (job) (rate(runstep_inserts_total{JOB, outcome="failed"}[10m]))
            / (sum by (job) (rate(runstep_inserts_total{JOB}[10m])) > 0)
            """,
        ),
        Alert(
            "RunStepInsertErrors",
            f"{INSERT_FAILURES}{{JOB}} > 0.05",
            "ticket",
            "{{ $value | humanizePercentage }} of the inserts into ClickHouse fail",
            "More than 5 % of the inserts have failed for 10 minutes. Each is tried again with the same token, so "
            "nothing is lost or doubled; the metric runstep_insert_retries_total names the kind of fault.",
            wait="10m",
        ),
        Record(
            BUFFER_WAIT,
            """
            sum by (job, instance) (avg_over_time(runstep_buffer_rows{JOB}[10m]))
            / (sum by (job, instance) (rate(runstep_insert_rows_sum{JOB}[10m])) > 0)
            """,
            "How long a row waits in memory: rows there by rows that leave in a second (Little's law).",
        ),
        Alert(
            "RunStepBufferNearLimit",
            f"{BUFFER_WAIT}{{JOB}} > 10",
            "ticket",
            "Rows wait in the memory of {{ $labels.instance }} for ClickHouse",
            "For 10 minutes rows have waited {{ $value | humanizeDuration }} on average until they were written: "
            "memory fills up to batch.max_rows or batch.max_bytes, and reading is held up. Nothing is lost; the lag "
            "will grow.",
            why="No metric tells the limit: it is rows or bytes, whichever is reached first, of each daemon's own "
            "settings. The wait needs neither. It is about batch.max_age, a second, when all is well, and a few "
            "seconds while a backlog is read as fast as it can be. Where nothing leaves at all, other alerts tell.",
            wait="10m",
            linger="5m",
        ),
    ]


def _standstill() -> list[Rule]:
    return [
        Alert(
            "RunStepIngestStale",
            """
            (time() - max by (job, instance, worker) (runstep_last_insert_timestamp_seconds{JOB}) > 300)
            and on (job, instance, worker) (
              sum by (job, instance, worker) (runstep_consumer_lag_records{JOB}) > 0
              or max by (job, instance, worker) (runstep_buffer_rows{JOB}) > 0
            )
            """,
            "page",
            "Run steps do not reach ClickHouse through {{ $labels.instance }}",
            "{{ $labels.instance }} has inserted nothing for more than 5 minutes although records wait. Nothing is "
            "lost while Kafka retains them.",
            why="Lag alone is not enough: while reading is paused, what was read waits in memory. The value is no "
            "annotation, since a daemon that has never inserted says 0.",
            wait="2m",
        ),
        Alert(
            "RunStepPartitionHalted",
            "sum by (job, instance, worker) (runstep_halted_partitions{JOB}) > 0",
            "page",
            "{{ $value }} partitions of {{ $labels.instance }} stand still",
            "{{ $labels.instance }} reads {{ $value }} of its partitions no more, since going on would lose records or "
            "flood the dead letters. Nothing of them is lost while Kafka keeps it; /readyz names each with its cause.",
            wait="2m",
        ),
        Alert(
            "RunStepRecordsLost",
            """
            sum by (job, topic, partition) (
              (increase(runstep_records_lost_total{JOB}[15m]) > 0)
              or ((runstep_records_lost_total{JOB} unless runstep_records_lost_total{JOB} offset 15m) > 0)
            )
            """,
            "page",
            "Records of {{ $labels.topic }}/{{ $labels.partition }} were lost before they were read",
            "Kafka no longer held offsets of {{ $labels.topic }}/{{ $labels.partition }} when they were to be read: "
            "retention was shorter than the outage, or the log was truncated. The daemon's log names the range.",
            why="The series of a partition appears with its first loss, which `increase` alone would not see.",
        ),
    ]
