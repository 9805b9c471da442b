"""What the pipeline does: is anything late, refused or lost, and which stage is the reason.

For whoever runs the daemons. `stages` holds what comes from Kafka and goes to ClickHouse, `members` the daemons.
"""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana import members, stages
from deploy.grafana.links import INGEST, STEP, cell, link
from deploy.grafana.panels import Limits, Question, coloured, lines, number, promql, thresholds, words
from deploy.grafana.tables import Column, rows

_WHO: Final = 'job=~"$job", instance=~"$instance"'
_TOPIC: Final = f'{_WHO}, topic=~"$topic"'
# Two members report a partition for a moment when it moves: the larger one is the truth, the sum never is.
_LAG: Final = f"max by (topic, partition) (runstep_consumer_lag_records{{{_TOPIC}}})"
_AGE: Final = (
    f"(time() - max by (topic, partition) (runstep_consumer_position_timestamp_seconds{{{_TOPIC}}}))"
    f" * ({_LAG} > bool 0)"
)
_UP_DOWN: Final = {"1": ("up", "green"), "0": ("down", "red")}
_PERCENTILES: Final = ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))

# Bounded by when they were stored: rows of the ledger lie in the order of their offsets, not of time.
_DEAD_LETTERS: Final = """\
SELECT
    max(ingested_at) AS refused_at,
    any(reason) AS why,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp AS produced_at,
    any(run_id) AS run,
    any(step_id) AS step
FROM run_step_ledger
WHERE outcome = 'dead_lettered'
  AND $__timeFilter(ingested_at)
  AND $__conditionalAll(kafka_topic IN (${topic:singlequote}), $topic)
GROUP BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, step_index
ORDER BY refused_at DESC
LIMIT 100"""


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("Is all well?", (*_backlog(), *_health())),
        ("How far behind", (_lag(), _age(), _delay())),
        ("What became of the records", (_records(), _refused(), _anomalies(), _dead_letters())),
        ("Into ClickHouse", stages.inserts()),
        ("From Kafka", stages.kafka()),
        ("Daemons and alerts", members.panels()),
    )


def _backlog() -> Sequence[Any]:
    dead = f'runstep_records_total{{{_WHO}, outcome="dead_lettered"}}'
    lost = f"runstep_records_lost_total{{{_TOPIC}}}"
    return (
        number(
            Question("Lag", "Records that Kafka holds and the pipeline has not read.", "short"),
            f"sum({_LAG})",
            thresholds(Limits(warn=10_000, bad=1_000_000)),
        ),
        number(
            Question("Backlog age", "How old the oldest position is; 0 without a backlog.", "s"),
            f"max({_AGE})",
            thresholds(Limits(warn=60, bad=300)),
        ),
        number(
            Question(
                "Dead dead letters", "Records refused in the time range; they are in the dead-letter topic.", "short"
            ),
            f"sum(increase({dead}[$__range]))",
            thresholds(Limits(warn=1, bad=100)),
        ).decimals(0),
        number(
            Question(
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
            Question(
                "Halted partitions",
                "Partitions that stand still until a person looks, since going on would lose records or flood the dead "
                "dead letters. /readyz names each with its cause.",
                "short",
            ),
            f"sum(runstep_halted_partitions{{{_WHO}}})",
            thresholds(Limits(bad=1)),
        ),
        number(
            Question("Kafka", "down: at least one daemon cannot read it, or not yet.", "none"),
            f"min(runstep_source_available{{{_WHO}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        number(
            Question(
                "ClickHouse",
                "down: at least one daemon cannot insert, or not yet. Reading pauses then, and nothing is lost.",
                "none",
            ),
            f"min(runstep_sink_available{{{_WHO}}})",
            thresholds(Limits()),
        ).mappings(words(_UP_DOWN)),
        members.firing(),
    )


def _lag() -> Any:
    return lines(
        Question("Lag by partition", "Records that Kafka holds and the pipeline has not read.", "short"),
        [promql(_LAG, "{{topic}} {{partition}}")],
    )


def _age() -> Any:
    return lines(
        Question(
            "Age of the backlog by partition",
            "Time since the last record that was read was produced; 0 where nothing waits. Rises by a second per "
            "second where reading stands still.",
            "s",
        ),
        [promql(_AGE, "{{topic}} {{partition}}")],
        Limits(warn=60, bad=300),
    )


def _delay() -> Any:
    by_bucket = f"sum by (le) (rate(runstep_ingest_delay_seconds_bucket{{{_WHO}}}[$__rate_interval]))"
    return lines(
        Question(
            "Delay until it can be queried",
            "From the record's Kafka timestamp to the acknowledged insert, estimated within histogram buckets.",
            "s",
        ),
        [promql(f"histogram_quantile({share}, {by_bucket})", name, ref) for share, name, ref in _PERCENTILES],
        Limits(warn=60, bad=300),
    )


def _records() -> Any:
    panel = lines(
        Question("Records by outcome", "Every record that was read is accounted for as one of these.", "recps"),
        [promql(f"sum by (outcome) (rate(runstep_records_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "stored", "dead_lettered", "ignored").span(7)


def _refused() -> Any:
    refused = f'runstep_records_total{{{_WHO}, outcome!="stored"}}'
    return lines(
        Question(
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
        Question("Anomalies", "What was doubtful in stored events, or had to be repaired; per second.", "suffix:/s"),
        [promql(f"sum by (anomaly) (rate(runstep_anomalies_total{{{_WHO}}}[$__rate_interval])) > 0", "{{anomaly}}")],
    ).span(7)


def _dead_letters() -> Any:
    return rows(
        Question(
            "Latest dead letters",
            "Where in Kafka the refused records of the time range stand, and why they were refused. Their bytes are in "
            "the dead-letter topic, under the same partition and offset in the headers; `runstep dlq` shows them and "
            "gives them back.",
            "none",
        ),
        _DEAD_LETTERS,
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
