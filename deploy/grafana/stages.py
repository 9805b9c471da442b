"""The two ends of the pipeline over time: inserts into ClickHouse, and what comes from Kafka."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.panels import Limits, Question, coloured, lines, promql, states

_WHO: Final = 'job=~"$job", instance=~"$instance"'
_PERCENTILES: Final = ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
_YES_NO: Final = {"1": ("yes", "green"), "0": ("no", "red")}


def inserts() -> Sequence[Any]:
    """Return how inserts went, how large they were, and why some were tried again."""
    return (_inserts(), _insert_duration(), _insert_rows(), _retries(), _sink(), _buffer())


def kafka() -> Sequence[Any]:
    """Return whether Kafka can be read, what was committed, who gave partitions away, and what is silent."""
    return (_source(), _commits(), _rebalances(), _silence())


def _inserts() -> Any:
    panel = lines(
        Question(
            "Inserts by outcome",
            "Inserts per second; a failed one is tried again with the same rows and the same token.",
            "suffix:/s",
        ),
        [promql(f"sum by (outcome) (rate(runstep_inserts_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "ok", "failed")


def _insert_duration() -> Any:
    durations = f"runstep_insert_duration_seconds_bucket{{{_WHO}}}"
    by_bucket = f"sum by (le, outcome) (rate({durations}[$__rate_interval]))"
    return lines(
        Question("Insert duration", "How long ClickHouse takes for an insert, or to fail at it.", "s"),
        [
            promql(f"histogram_quantile({share}, {by_bucket}) >= 0", f"{name} {{{{outcome}}}}", ref)
            for share, name, ref in _PERCENTILES
        ],
        Limits(warn=5, bad=30),
    )


def _insert_rows() -> Any:
    total = f"sum(rate(runstep_insert_rows_sum{{{_WHO}}}[$__rate_interval]))"
    inserts = f"(sum(rate(runstep_insert_rows_count{{{_WHO}}}[$__rate_interval])) > 0)"
    return lines(
        Question(
            "Rows per insert",
            "Mean size of the inserts. ClickHouse wants thousands; small inserts at a high rate end in too many parts.",
            "short",
        ),
        [promql(f"{total} / {inserts}", "rows")],
    )


def _retries() -> Any:
    return lines(
        Question(
            "Insert retries by class",
            "Why inserts were tried again. environment needs a person: a missing table, credentials, a full disk.",
            "suffix:/s",
        ),
        [
            promql(
                f"sum by (error_class) (rate(runstep_insert_retries_total{{{_WHO}}}[$__rate_interval])) > 0",
                "{{error_class}}",
            )
        ],
        stacked=True,
    )


def _sink() -> Any:
    panel = states(
        Question(
            "ClickHouse takes inserts, by daemon",
            "As each daemon sees it. Red: reading pauses, nothing is lost.",
            "short",
        ),
        promql(f"min by (instance) (runstep_sink_available{{{_WHO}}})", "{{instance}}"),
        _YES_NO,
    )
    return panel.span(8)


def _buffer() -> Any:
    return lines(
        Question("Rows in memory", "Rows that wait to be inserted, by daemon.", "short"),
        [promql(f"sum by (instance) (runstep_buffer_rows{{{_WHO}}})", "{{instance}}")],
    )


def _source() -> Any:
    return states(
        Question(
            "Kafka can be read, by daemon",
            "As each daemon sees it. Red: nothing is read, and the lag is not known.",
            "short",
        ),
        promql(f"min by (instance) (runstep_source_available{{{_WHO}}})", "{{instance}}"),
        _YES_NO,
    )


def _commits() -> Any:
    panel = lines(
        Question("Commits by outcome", "Offset commits per second; deferred ones are tried again.", "suffix:/s"),
        [promql(f"sum by (outcome) (rate(runstep_commits_total{{{_WHO}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "ok", "deferred", "fenced").span(6)


def _rebalances() -> Any:
    panel = lines(
        Question(
            "Rebalances",
            "Partitions that the group gave or took away, counted each time. lost: the member was declared dead.",
            "short",
        ),
        [promql(f"sum by (kind) (increase(runstep_rebalances_total{{{_WHO}}}[$__rate_interval]))", "{{kind}}")],
    )
    return coloured(panel, "lost").span(6)


def _silence() -> Any:
    """A timestamp of 0 means "never", or "nothing waits": it is no age."""
    ages = (
        ("poll of Kafka", "A", "runstep_last_poll_timestamp_seconds"),
        ("insert", "B", "runstep_last_insert_timestamp_seconds"),
        ("oldest record in memory was produced", "C", "runstep_buffer_oldest_timestamp_seconds"),
    )
    return lines(
        Question(
            "Time since",
            "The longest time since a daemon polled, since it inserted, and since what waits in its memory was "
            "produced. Inserts may pause when no records come; polls never do.",
            "s",
        ),
        [promql(f"max(time() - ({metric}{{{_WHO}}} > 0))", name, ref) for name, ref, metric in ages],
        Limits(warn=60, bad=120),
    ).span(6)
