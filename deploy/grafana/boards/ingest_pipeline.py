"""The board "Ingest pipeline": which records are late, rejected or lost, and at which stage.

For those who run the daemons. The rows "Into ClickHouse", "From Kafka" and "Daemons and alerts" are in the files
`ingest_clickhouse`, `ingest_kafka` and `ingest_daemons`.
"""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.boards import ingest_clickhouse, ingest_daemons, ingest_kafka
from deploy.grafana.clickhouse_panels import rows
from deploy.grafana.navigation import INGEST, STEP, cell, link
from deploy.grafana.prometheus_panels import lines, number, promql
from deploy.grafana.queries.dead_letters_sql import DEAD_LETTERS
from deploy.grafana.queries.selectors import DAEMONS, PERCENTILES, TOPICS
from deploy.grafana.style import Caption, Column, Limits, coloured, thresholds, words

# While a partition moves, two members report it: the larger value is right, the sum never is.
_LAG: Final = f"max by (topic, partition) (runstep_consumer_lag_records{{{TOPICS}}})"
_AGE: Final = (
    f"(time() - max by (topic, partition) (runstep_consumer_position_timestamp_seconds{{{TOPICS}}}))"
    f" * ({_LAG} > bool 0)"
)
_UP_DOWN: Final = {"1": ("up", "green"), "0": ("down", "red")}


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("Is all well?", (*_backlog(), *_health())),
        ("Lag and delay", (_lag(), _held_back(), _age(), _delay())),
        ("What became of the records", (_records(), _not_stored(), _anomalies(), _dead_letters())),
        ("Into ClickHouse", ingest_clickhouse.panels()),
        ("From Kafka", ingest_kafka.panels()),
        ("Daemons and alerts", ingest_daemons.panels()),
    )


def _backlog() -> Sequence[Any]:
    dead = f'runstep_records_total{{{DAEMONS}, outcome="dead_lettered"}}'
    lost = f"runstep_records_lost_total{{{TOPICS}}}"
    return (
        number(
            Caption("Lag", "Records in Kafka that the daemons have not read yet.", "short"),
            f"sum({_LAG})",
            thresholds(Limits(warn=10_000, bad=1_000_000)),
        ),
        number(
            Caption(
                "Backlog age",
                "Age of the last record read in the partition that is furthest behind; 0 without a backlog.",
                "s",
            ),
            f"max({_AGE})",
            thresholds(Limits(warn=60, bad=300)),
        ),
        number(
            Caption(
                "Dead letters",
                "Records rejected in the time range; their original bytes are in the dead-letter topic.",
                "short",
            ),
            f"sum(increase({dead}[$__range]))",
            thresholds(Limits(warn=1, bad=100)),
        ).decimals(0),
        number(
            Caption(
                "Records lost",
                "Offsets that Kafka had deleted (retention, truncation) before a daemon read them, since the daemons "
                "started.",
                "short",
            ),
            f"sum(max_over_time({lost}[$__range])) or vector(0)",
            thresholds(Limits(bad=1)),
        ),
    )


def _health() -> Sequence[Any]:
    return (
        number(
            Caption(
                "Halted partitions",
                "Partitions that a daemon does not read, since reading on would lose records or flood the "
                "dead-letter topic. Each is retried every retry.halted_delay seconds (300 by default); /readyz names "
                "the cause.",
                "short",
            ),
            f"sum(runstep_halted_partitions{{{DAEMONS}}})",
            thresholds(Limits(bad=1)),
        ),
        number(
            Caption("Kafka", "down: at least one daemon cannot read Kafka, or has not read it yet.", "none"),
            f"min(runstep_source_available{{{DAEMONS}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        number(
            Caption(
                "ClickHouse",
                "down: at least one daemon cannot insert, or has not inserted yet. Such a daemon pauses reading; "
                "nothing is lost.",
                "none",
            ),
            f"min(runstep_sink_available{{{DAEMONS}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        ingest_daemons.firing(),
    )


def _lag() -> Any:
    return lines(
        Caption("Lag by partition", "Records in Kafka that the daemons have not read yet.", "short"),
        [promql(_LAG, "{{topic}} {{partition}}")],
    )


def _held_back() -> Any:
    return lines(
        Caption(
            "Behind open transactions by partition",
            "Offsets behind the last stable one: no reader gets them before a producer ends its transaction. They are "
            "not in the lag. Normal is 0, or a line that keeps returning to it.",
            "short",
        ),
        [promql(f"max by (topic, partition) (runstep_unstable_records{{{TOPICS}}})", "{{topic}} {{partition}}")],
    )


def _age() -> Any:
    return lines(
        Caption(
            "Age of the backlog by partition",
            "Time since the last record read was produced; 0 without a backlog. While a partition is not read, its "
            "line rises by one second per second.",
            "s",
        ),
        [promql(_AGE, "{{topic}} {{partition}}")],
        Limits(warn=60, bad=300),
    )


def _delay() -> Any:
    by_bucket = f"sum by (le) (rate(runstep_ingest_delay_seconds_bucket{{{DAEMONS}}}[$__rate_interval]))"
    return lines(
        Caption(
            "Delay until it can be queried",
            "Time from a record's Kafka timestamp to its acknowledged insert, estimated from histogram buckets.",
            "s",
        ),
        [promql(f"histogram_quantile({share}, {by_bucket})", name, ref) for share, name, ref in PERCENTILES],
        Limits(warn=60, bad=300),
    )


def _records() -> Any:
    panel = lines(
        Caption("Records by outcome", "Every record read has exactly one of these outcomes.", "recps"),
        [promql(f"sum by (outcome) (rate(runstep_records_total{{{DAEMONS}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "stored", "dead_lettered", "ignored").span(7)


def _not_stored() -> Any:
    not_stored = f'runstep_records_total{{{DAEMONS}, outcome!="stored"}}'
    return lines(
        Caption(
            "Not stored, by reason",
            "Why records were dead-lettered or ignored. Dead-lettered records are kept in the dead-letter topic; "
            "ignored ones are not run steps (deltas, runs, tombstones).",
            "recps",
        ),
        [
            promql(
                f"sum by (outcome, reason) (rate({not_stored}[$__rate_interval])) > 0",
                "{{reason}}",
            )
        ],
    ).span(10)


def _anomalies() -> Any:
    return lines(
        Caption("Anomalies", "What was doubtful in stored events or had to be repaired, per second.", "suffix:/s"),
        [promql(f"sum by (anomaly) (rate(runstep_anomalies_total{{{DAEMONS}}}[$__rate_interval])) > 0", "{{anomaly}}")],
    ).span(7)


def _dead_letters() -> Any:
    return rows(
        Caption(
            "Latest dead letters",
            "The latest 100 rejected records of the time range: their place in Kafka and the reason. Their bytes are "
            "in the dead-letter topic, whose headers name the same partition and offset; `runstep dlq` shows and "
            "replays them.",
            "none",
        ),
        DEAD_LETTERS,
        {
            "rejected_at": Column(unit="time:YYYY-MM-DD HH:mm:ss", width=170),
            "produced_at": Column(unit="time:YYYY-MM-DD HH:mm:ss", width=170),
            "reason": Column(width=190),
            "kafka_topic": Column(width=190),
            "kafka_partition": Column(width=140),
            "kafka_offset": Column(width=120),
            "run": Column(links=[link("Open the run", INGEST, STEP, run_id=cell("run"), step_id="")]),
            "step": Column(links=[link("Open the step", INGEST, STEP, run_id=cell("run"), step_id=cell("step"))]),
        },
    ).height(7)
