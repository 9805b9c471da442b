"""The panels about Kafka on the board "Ingest pipeline": availability, commits, rebalances, silence."""

from collections.abc import Sequence
from typing import Any

from deploy.grafana.prometheus_panels import lines, promql, states
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import YES_NO, Caption, Limits, coloured


def panels() -> Sequence[Any]:
    """Return the panels of the row "From Kafka"."""
    return (_source(), _commits(), _rebalances(), _quotas(), _silence())


def _source() -> Any:
    return states(
        Caption(
            "Kafka can be read, by daemon",
            "As each daemon sees it. Red: the daemon reads nothing, and its lag is unknown.",
            "short",
        ),
        promql(f"min by (instance) (runstep_source_available{{{DAEMONS}}})", "{{instance}}"),
        YES_NO,
    )


def _commits() -> Any:
    panel = lines(
        Caption(
            "Commits by outcome",
            "Offset commits per second. deferred: to be retried. fenced: the partition has a new owner.",
            "suffix:/s",
        ),
        [promql(f"sum by (outcome) (rate(runstep_commits_total{{{DAEMONS}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "ok", "deferred", "fenced").span(6)


def _rebalances() -> Any:
    panel = lines(
        Caption(
            "Rebalances",
            "Partitions that the group assigned to daemons or took from them, counted each time. lost: the group had "
            "removed the member.",
            "short",
        ),
        [promql(f"sum by (kind) (increase(runstep_rebalances_total{{{DAEMONS}}}[$__rate_interval]))", "{{kind}}")],
    )
    return coloured(panel, "lost").span(6)


def _quotas() -> Any:
    return lines(
        Caption(
            "Pauses that quotas ordered, by daemon",
            "Seconds of pauses per second, as brokers ordered them; several brokers at a time are added. 0: no quota "
            "slows reading.",
            "s",
        ),
        [
            promql(
                f"sum by (instance) (rate(runstep_throttled_seconds_total{{{DAEMONS}}}[$__rate_interval]))",
                "{{instance}}",
            )
        ],
    ).span(6)


def _silence() -> Any:
    """Leave out timestamps of 0: they mean "never" or "nothing waits"."""
    ages = (
        ("poll of Kafka", "A", "runstep_last_poll_timestamp_seconds"),
        ("insert", "B", "runstep_last_insert_timestamp_seconds"),
        ("oldest record in memory was produced", "C", "runstep_buffer_oldest_timestamp_seconds"),
    )
    return lines(
        Caption(
            "Time since the last activity",
            "The longest time since a daemon polled Kafka, since a daemon inserted, and since the oldest record in a "
            "daemon's memory was produced. Without records inserts stop; polls never stop.",
            "s",
        ),
        [promql(f"max(time() - ({metric}{{{DAEMONS}}} > 0))", name, ref) for name, ref, metric in ages],
        Limits(warn=60, bad=120),
    ).span(6)
