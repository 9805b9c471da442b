"""What the pipeline does: is anything late, refused or lost, and which stage is the reason."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.panels import Limits, Question, lines, number, promql, states, thresholds

_WHO: Final = 'job=~"$job", instance=~"$instance"'
_TOPIC: Final = f'{_WHO}, topic=~"$topic"'
# Two members report a partition for a moment when it moves: the larger one is the truth, the sum never is.
_LAG: Final = f"max by (topic, partition) (runstep_consumer_lag_records{{{_TOPIC}}})"
_AGE: Final = (
    f"(time() - max by (topic, partition) (runstep_consumer_position_timestamp_seconds{{{_TOPIC}}}))"
    f" * ({_LAG} > bool 0)"
)


def headline() -> Sequence[Any]:
    """Return the figures that are read first: backlog, its age, what was refused, what was lost."""
    dead = f'runstep_records_total{{{_WHO}, outcome="dead_lettered"}}'
    lost = f"runstep_records_lost_total{{{_TOPIC}}}"
    return (
        number(
            Question("Lag", "Records that Kafka holds and the pipeline has not read.", "short"),
            f"sum({_LAG})",
            thresholds(Limits(warn=10_000, bad=1_000_000)),
        ),
        number(
            Question("Age of the backlog", "How old the oldest position is; 0 without a backlog.", "s"),
            f"max({_AGE})",
            thresholds(Limits(warn=60, bad=300)),
        ),
        number(
            Question("Dead letters", "Records refused in the time range; they are in the dead-letter topic.", "short"),
            f"sum(increase({dead}[$__range]))",
            thresholds(Limits(warn=1, bad=100)),
        ),
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


def panels() -> Sequence[Any]:
    """Return lag, delay, records, inserts, and what gets in their way, over time."""
    last_rows = (_retries(), _source(), _sink(), _buffer(), _silence(), _commits(), _rebalances(), _assigned())
    return (
        _lag(),
        _age(),
        _delay(),
        _records(),
        _refused(),
        _anomalies(),
        _inserts(),
        _insert_duration(),
        _insert_rows(),
        *(panel.span(6) for panel in last_rows),
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
        [
            promql(f"histogram_quantile({share}, {by_bucket})", name, ref)
            for share, name, ref in ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
        ],
        Limits(warn=60, bad=300),
    )


def _records() -> Any:
    return lines(
        Question("Records by outcome", "Every record that was read is accounted for as one of these.", "ops"),
        [promql(f"sum by (outcome) (rate(runstep_records_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )


def _refused() -> Any:
    refused = f'runstep_records_total{{{_WHO}, outcome!="stored"}}'
    return lines(
        Question(
            "Not stored, by reason",
            "Dead-lettered records are kept in the dead-letter topic; ignored ones are no run steps (deltas, runs, "
            "tombstones).",
            "ops",
        ),
        [
            promql(
                f"sum by (outcome, reason) (rate({refused}[$__rate_interval])) > 0",
                "{{outcome}}: {{reason}}",
            )
        ],
    )


def _anomalies() -> Any:
    return lines(
        Question("Anomalies", "What was doubtful in stored events, or had to be repaired; per second.", "ops"),
        [
            promql(
                f"sum by (anomaly) (rate(runstep_anomalies_total{{{_WHO}}}[$__rate_interval])) > 0",
                "{{anomaly}}",
            )
        ],
    )


def _inserts() -> Any:
    return lines(
        Question(
            "Inserts by outcome",
            "Inserts per second; a failed one is tried again with the same rows and the same token.",
            "ops",
        ),
        [promql(f"sum by (outcome) (rate(runstep_inserts_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )


def _insert_duration() -> Any:
    durations = f"runstep_insert_duration_seconds_bucket{{{_WHO}}}"
    by_bucket = f"sum by (le, outcome) (rate({durations}[$__rate_interval]))"
    return lines(
        Question("Insert duration", "How long ClickHouse takes for an insert, or to fail at it.", "s"),
        [
            promql(f"histogram_quantile({share}, {by_bucket})", f"{name} {{{{outcome}}}}", ref)
            for share, name, ref in ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
        ],
        Limits(warn=5, bad=30),
    )


def _insert_rows() -> Any:
    rows = f"sum(rate(runstep_insert_rows_sum{{{_WHO}}}[$__rate_interval]))"
    inserts = f"(sum(rate(runstep_insert_rows_count{{{_WHO}}}[$__rate_interval])) > 0)"
    return lines(
        Question(
            "Rows per insert",
            "Mean size of the inserts. ClickHouse wants thousands; small inserts at a high rate end in too many parts.",
            "short",
        ),
        [promql(f"{rows} / {inserts}", "rows")],
    )


def _retries() -> Any:
    return lines(
        Question(
            "Insert retries by class",
            "Why inserts were tried again. environment needs a person: a missing table, credentials, a full disk.",
            "ops",
        ),
        [
            promql(
                f"sum by (error_class) (rate(runstep_insert_retries_total{{{_WHO}}}[$__rate_interval])) > 0",
                "{{error_class}}",
            )
        ],
        stacked=True,
    )


def _source() -> Any:
    return states(
        Question(
            "Kafka can be read", "As each daemon sees it. Red: nothing is read, and the lag is not known.", "short"
        ),
        promql(f"min by (instance) (runstep_source_available{{{_WHO}}})", "{{instance}}"),
        {"1": ("yes", "green"), "0": ("no", "red")},
    )


def _sink() -> Any:
    return states(
        Question("ClickHouse takes inserts", "As each daemon sees it. Red: reading pauses, nothing is lost.", "short"),
        promql(f"min by (instance) (runstep_sink_available{{{_WHO}}})", "{{instance}}"),
        {"1": ("yes", "green"), "0": ("no", "red")},
    )


def _buffer() -> Any:
    return lines(
        Question("Rows in memory", "Rows that wait to be inserted, by daemon.", "short"),
        [promql(f"sum by (instance) (runstep_buffer_rows{{{_WHO}}})", "{{instance}}")],
    )


def _silence() -> Any:
    """A timestamp of 0 means "never", or "nothing waits": it is no age."""
    ages = (
        ("poll of Kafka", "A", "runstep_last_poll_timestamp_seconds"),
        ("insert", "B", "runstep_last_insert_timestamp_seconds"),
        ("oldest row in memory", "C", "runstep_buffer_oldest_timestamp_seconds"),
    )
    return lines(
        Question(
            "Time since",
            "The longest time since a daemon polled, inserted, and since its oldest row waits. Inserts may pause when "
            "no records come; polls never do.",
            "s",
        ),
        [promql(f"max(time() - ({metric}{{{_WHO}}} > 0))", name, ref) for name, ref, metric in ages],
        Limits(warn=60, bad=120),
    )


def _commits() -> Any:
    return lines(
        Question("Commits by outcome", "Offset commits per second; deferred ones are tried again.", "ops"),
        [promql(f"sum by (outcome) (rate(runstep_commits_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )


def _assigned() -> Any:
    return lines(
        Question(
            "Partitions by daemon",
            "How the group shares the partitions; a daemon at 0 is a spare. What stands still is named by /readyz.",
            "short",
        ),
        [
            promql(f"sum by (instance) (runstep_assigned_partitions{{{_WHO}}})", "{{instance}}"),
            promql(f"sum by (instance) (runstep_halted_partitions{{{_WHO}}})", "{{instance}} stand still", "B"),
        ],
    )


def _rebalances() -> Any:
    return lines(
        Question(
            "Rebalances",
            "How often the group gave partitions or took them. lost means that a member was declared dead.",
            "short",
        ),
        [
            promql(
                f"sum by (kind) (increase(runstep_rebalances_total{{{_WHO}}}[$__rate_interval]))",
                "{{kind}}",
            )
        ],
    )
