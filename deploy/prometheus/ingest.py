"""Alerts on the records' way from Kafka to ClickHouse: do all of them become rows, and in time.

The backlog's age means the same at every rate, the number of records in it does not, so alerts use the age.
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
    """Return the rules about the records' way."""
    return [*_backlog(), *_inserts(), *_no_progress()]


def _backlog() -> list[Rule]:
    return [
        Record(
            LAG,
            "max by (job, topic, partition) (runstep_consumer_lag_records{JOB})",
            "While a partition moves, two members report it: the larger value is right, the sum is not.",
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
            "The backlog of {{ $labels.topic }} is {{ $value | humanizeDuration }} old, and its lag has been growing "
            "for 15 minutes: producers write more than the daemons read.",
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
            "For 10 minutes more than 5 % of the inserts have failed. The daemon retries each with the same "
            "deduplication token, so nothing is lost or doubled. The metric runstep_insert_retries_total has the "
            "class of the errors.",
            wait="10m",
        ),
        Record(
            BUFFER_WAIT,
            """
            sum by (job, instance) (avg_over_time(runstep_buffer_rows{JOB}[10m]))
            / (sum by (job, instance) (rate(runstep_insert_rows_sum{JOB}[10m])) > 0)
            """,
            "How long a row waits in memory: rows in memory divided by rows inserted per second (Little's law).",
        ),
        Alert(
            "RunStepBufferNearLimit",
            f"{BUFFER_WAIT}{{JOB}} > 10",
            "ticket",
            "Rows wait in the memory of {{ $labels.instance }} for ClickHouse",
            "For 10 minutes rows have waited {{ $value | humanizeDuration }} on average for their insert. Memory "
            "fills up to batch.max_rows or batch.max_bytes, then the daemon pauses reading. Nothing is lost; the lag "
            "will grow.",
            why="No metric has the limit: it is rows or bytes, whichever comes "
            "first, from each daemon's settings. The wait needs neither. It is "
            "normally about batch.max_age, one second, and a few seconds while a "
            "backlog is read. If no row is inserted at all, RunStepIngestStale "
            "fires.",
            wait="10m",
            linger="5m",
        ),
    ]


def _no_progress() -> list[Rule]:
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
            "{{ $labels.instance }} has inserted nothing for more than 5 minutes although records wait; /readyz "
            "names the cause. No record is lost while Kafka retains it.",
            why="Lag alone is not enough: while reading is paused, records that were "
            "read wait in memory. The annotations leave out the value, since a "
            "daemon that has never inserted exposes 0.",
            wait="2m",
        ),
        Alert(
            "RunStepPartitionHalted",
            "sum by (job, instance, worker) (runstep_halted_partitions{JOB}) > 0",
            "page",
            "{{ $value }} partitions of {{ $labels.instance }} are halted",
            "{{ $labels.instance }} does not read {{ $value }} of its partitions, since reading on would lose "
            "records or flood the dead-letter topic. It retries each every retry.halted_delay seconds; /readyz names "
            "each with its cause. No record is lost while Kafka retains it.",
            wait="2m",
        ),
        Alert(
            "RunStepRecordsHeldBack",
            """
            max by (job, topic, partition) (runstep_unstable_records{JOB}) > 0
            unless on (job, topic, partition) (
              max by (job, topic, partition) (runstep_consumer_lag_records{JOB}) > 0
              or max by (job, topic, partition) (changes(runstep_consumer_position_timestamp_seconds{JOB}[10m])) > 0
            )
            """,
            "page",
            "{{ $value }} records of {{ $labels.topic }}/{{ $labels.partition }} wait behind an open transaction",
            "For 15 minutes no reader could read on in {{ $labels.topic }}/{{ $labels.partition }}: a producer has "
            "left a transaction open, and {{ $value }} offsets lie behind its first record. Their lag is 0. `runstep "
            "doctor` names the producer and the command that ends its transaction.",
            why="Transactions that follow one another are open at every scrape, too, but the position moves on. Kafka "
            "ends a transaction after 15 minutes at most (transaction.max.timeout.ms) where it knows of it.",
            wait="5m",
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
            "Kafka deleted offsets of {{ $labels.topic }}/{{ $labels.partition }} before a daemon read them: "
            "retention was shorter than the outage, or the log was truncated. The daemon's log event offsets_lost "
            "names the range.",
            why="The series of a partition begins with its first loss, which `increase` alone does not see.",
        ),
    ]
