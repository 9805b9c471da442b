"""The panels about Kafka on the board "Ingest pipeline": availability, commits, rebalances, silence."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.prometheus_panels import lines, promql, states
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import Caption, Limits, coloured

_YES_NO: Final = {"1": ("yes", "green"), "0": ("no", "red")}


def panels() -> Sequence[Any]:
    """Return the panels of the row "From Kafka"."""
    return (_source(), _commits(), _rebalances(), _silence())


def _source() -> Any:
    return states(
        Caption(
            "Kafka can be read, by daemon",
            "As each daemon sees it. Red: nothing is read, and the lag is not known.",
            "short",
        ),
        promql(f"min by (instance) (runstep_source_available{{{DAEMONS}}})", "{{instance}}"),
        _YES_NO,
    )


def _commits() -> Any:
    panel = lines(
        Caption("Commits by outcome", "Offset commits per second; deferred ones are tried again.", "suffix:/s"),
        [promql(f"sum by (outcome) (rate(runstep_commits_total{{{DAEMONS}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "ok", "deferred", "fenced").span(6)


def _rebalances() -> Any:
    panel = lines(
        Caption(
            "Rebalances",
            "Partitions that the group gave or took away, counted each time. lost: the member was declared dead.",
            "short",
        ),
        [promql(f"sum by (kind) (increase(runstep_rebalances_total{{{DAEMONS}}}[$__rate_interval]))", "{{kind}}")],
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
        Caption(
            "Time since",
            "The longest time since a daemon polled, since it inserted, and since what waits in its memory was "
            "produced. Inserts may pause when no records come; polls never do.",
            "s",
        ),
        [promql(f"max(time() - ({metric}{{{DAEMONS}}} > 0))", name, ref) for name, ref, metric in ages],
        Limits(warn=60, bad=120),
    ).span(6)
