"""What the pipeline does: is anything late, refused or lost, and which stage is the reason.

For whoever runs the daemons. `stages` holds what comes from Kafka and goes to ClickHouse, `members` the daemons.
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

# Two members report a partition for a moment when it moves: the larger one is the truth, the sum never is.
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
        ("How far behind", (_lag(), _age(), _delay())),
        ("What became of the records", (_records(), _refused(), _anomalies(), _dead_letters())),
        ("Into ClickHouse", ingest_clickhouse.panels()),
        ("From Kafka", ingest_kafka.panels()),
        ("Daemons and alerts", ingest_daemons.panels()),
    )


def _backlog() -> Sequence[Any]:
    dead = f'runstep_records_total{{{DAEMONS}, outcome="dead_lettered"}}'
    lost = f"runstep_records_lost_total{{{TOPICS}}}"
    return (
        number(
            Caption("Lag", "Records that Kafka holds and the pipeline has not read.", "short"),
            f"sum({_LAG})",
            thresholds(Limits(warn=10_000, bad=1_000_000)),
        ),
        number(
            Caption("Backlog age", "How old the oldest position is; 0 without a backlog.", "s"),
            f"max({_AGE})",
            thresholds(Limits(warn=60, bad=300)),
        ),
        number(
            Caption(
                "Dead dead letters", "Records refused in the time range; they are in the dead-letter topic.", "short"
            ),
            f"sum(increase({dead}[$__range]))",
            thresholds(Limits(warn=1, bad=100)),
        ).decimals(0),
        number(
            Caption(
                "Records lost",
                "Offsets that Kafka no longer had when they were to be read (retention, truncation), since the "
                "processes started.",
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
                "Partitions that stand still until a person looks, since going on would lose records or flood the dead "
                "dead letters. /readyz names each with its cause.",
                "short",
            ),
            f"sum(runstep_halted_partitions{{{DAEMONS}}})",
            thresholds(Limits(bad=1)),
        ),
        number(
            Caption("Kafka", "down: at least one daemon cannot read it, or not yet.", "none"),
            f"min(runstep_source_available{{{DAEMONS}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        number(
            Caption(
                "ClickHouse",
                "down: at least one daemon cannot insert, or not yet. Reading pauses then, and nothing is lost.",
                "none",
            ),
            f"min(runstep_sink_available{{{DAEMONS}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        ingest_daemons.firing(),
    )


def _lag() -> Any:
    return lines(
        Caption("Lag by partition", "Records that Kafka holds and the pipeline has not read.", "short"),
        [promql(_LAG, "{{topic}} {{partition}}")],
    )


def _age() -> Any:
    return lines(
        Caption(
            "Age of the backlog by partition",
            "Time since the last record that was read was produced; 0 where nothing waits. Rises by a second per "
            "second where reading stands still.",
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
            "From the record's Kafka timestamp to the acknowledged insert, estimated within histogram buckets.",
            "s",
        ),
        [promql(f"histogram_quantile({share}, {by_bucket})", name, ref) for share, name, ref in PERCENTILES],
        Limits(warn=60, bad=300),
    )


def _records() -> Any:
    panel = lines(
        Caption("Records by outcome", "Every record that was read is accounted for as one of these.", "recps"),
        [promql(f"sum by (outcome) (rate(runstep_records_total{{{DAEMONS}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "stored", "dead_lettered", "ignored").span(7)


def _refused() -> Any:
    refused = f'runstep_records_total{{{DAEMONS}, outcome!="stored"}}'
    return lines(
        Caption(
            "Not stored, by reason",
            "Dead-lettered records are kept in the dead-letter topic; ignored ones are no run steps (deltas, runs, "
            "tombstones).",
            "recps",
        ),
        [
            promql(
                f"sum by (outcome, reason) (rate({refused}[$__rate_interval])) > 0",
                "{{reason}}",
            )
        ],
    ).span(10)


def _anomalies() -> Any:
    return lines(
        Caption("Anomalies", "What was doubtful in stored events, or had to be repaired; per second.", "suffix:/s"),
        [promql(f"sum by (anomaly) (rate(runstep_anomalies_total{{{DAEMONS}}}[$__rate_interval])) > 0", "{{anomaly}}")],
    ).span(7)


def _dead_letters() -> Any:
    return rows(
        Caption(
            "Latest dead letters",
            "Where in Kafka the refused records of the time range stand, and why they were refused. Their bytes are in "
            "the dead-letter topic, under the same partition and offset in the headers; `runstep dlq` shows them and "
            "gives them back.",
            "none",
        ),
        DEAD_LETTERS,
        {
            "refused_at": Column(unit="time:YYYY-MM-DD HH:mm:ss", width=170),
            "produced_at": Column(unit="time:YYYY-MM-DD HH:mm:ss", width=170),
            "why": Column(width=190),
            "kafka_topic": Column(width=190),
            "kafka_partition": Column(width=140),
            "kafka_offset": Column(width=120),
            "run": Column(links=[link("Open the run", INGEST, STEP, run_id=cell("run"), step_id="")]),
            "step": Column(links=[link("Open the step", INGEST, STEP, run_id=cell("run"), step_id=cell("step"))]),
        },
    ).height(7)
