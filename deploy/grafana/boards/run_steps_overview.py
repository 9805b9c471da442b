"""The board "Run steps overview": how many run steps end, how many fail, how long they take, the error budget.

For those who are on call or own the agents. Everything is from Prometheus and counts a step once.
"""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.navigation import EXPLORER, INGEST, OVERVIEW, label, link, links_override
from deploy.grafana.prometheus_panels import buckets, lines, number, promql
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import Caption, Limits, coloured, falling, neutral, thresholds, with_links

_SELECTED: Final = f'{DAEMONS}, type=~"$type"'
_STEPS: Final = f"runstep_steps_total{{{_SELECTED}}}"
_COMPLETED: Final = f'runstep_steps_total{{{_SELECTED}, status="completed"}}'
# A cancelled step is neither a success nor a failure.
_JUDGED: Final = f'runstep_steps_total{{{_SELECTED}, status=~"completed|failed|expired"}}'
_FAILURES: Final = f"runstep_step_failures_total{{{_SELECTED}}}"
_DURATIONS: Final = f'runstep_step_duration_seconds_bucket{{{_SELECTED}, status="completed"}}'
_SUCCESS: Final = f"sum(increase({_COMPLETED}[$__range])) / (sum(increase({_JUDGED}[$__range])) > 0)"
_TO_STEPS: Final = link("Show these steps", OVERVIEW, EXPLORER)
_TO_FAILURES: Final = link("Show the failed and expired steps", OVERVIEW, EXPLORER, status=("failed", "expired"))
_TO_PIPELINE: Final = link("Look at the pipeline", OVERVIEW, INGEST)


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("Is all well?", (*_results(), *_work())),
        ("Traffic and success", (_by_status(), _by_type(), _success(), _failures(), _burn())),
        ("How long", (_heatmap(), _percentiles(), _slow_types())),
        ("What the steps did", (_tokens(), _tool_calls(), _backfilled())),
    )


def _results() -> Sequence[Any]:
    ratio = Caption(
        "Success ratio",
        "Completed steps among those that completed, failed or expired, over the time range. Cancelled steps do not "
        "count.",
        "percentunit",
    )
    budget = Caption(
        "Error budget left",
        "The objective allows a share of the steps to fail or expire: the error budget. This is what the time range "
        "has left of it; below 0 the objective is missed.",
        "percentunit",
    )
    failed = Caption("Failed or expired", "Steps that failed or expired in the time range.", "short")
    p95 = Caption(
        "p95 duration",
        "95 % of the completed steps of the time range took at most this long, estimated from histogram buckets.",
        "s",
    )
    quantile = f"histogram_quantile(0.95, sum by (le) (increase({_DURATIONS}[$__range])))"
    return (
        with_links(number(ratio, _SUCCESS, falling(warn=0.99, bad=0.95)), links_override(_TO_FAILURES)),
        with_links(
            number(budget, f"1 - (1 - {_SUCCESS}) / (1 - $objective)", falling(warn=0.25, bad=0)),
            links_override(_TO_FAILURES),
        ),
        with_links(
            number(failed, f"sum(increase({_FAILURES}[$__range]))", neutral()).decimals(0), links_override(_TO_FAILURES)
        ),
        with_links(number(p95, quantile, thresholds(Limits(warn=60, bad=300))), links_override(_TO_STEPS)),
    )


def _work() -> Sequence[Any]:
    rate = Caption(
        "Steps per second", "Run steps per second that completed, failed, expired or were cancelled.", "suffix:/s"
    )
    tokens = Caption("Tokens", "Input and output tokens of the steps that ended in the time range.", "short")
    calls = Caption("Tool calls", "Tool calls of the steps that ended in the time range.", "short")
    age = Caption(
        "Data is behind by",
        "Steps younger than this may be missing here: the time since the last record read was produced; 0 without a "
        "backlog.",
        "s",
    )
    position = f"max by (topic, partition) (runstep_consumer_position_timestamp_seconds{{{DAEMONS}}})"
    lag = f"max by (topic, partition) (runstep_consumer_lag_records{{{DAEMONS}}})"
    return (
        with_links(
            number(rate, f"sum(rate({_STEPS}[$__rate_interval]))", neutral()).decimals(2),
            links_override(_TO_STEPS),
        ),
        number(tokens, f"sum(increase(runstep_tokens_total{{{DAEMONS}}}[$__range]))", neutral()),
        number(calls, f"sum(increase(runstep_tool_calls_total{{{DAEMONS}}}[$__range]))", neutral()),
        with_links(
            number(age, f"max((time() - {position}) * ({lag} > bool 0))", thresholds(Limits(warn=60, bad=300))),
            links_override(_TO_PIPELINE),
        ),
    )


def _by_status() -> Any:
    panel = lines(
        Caption("Steps by status", "Steps that ended, per second; a step counts once.", "suffix:/s"),
        [promql(f"sum by (status) (rate({_STEPS}[$__rate_interval]))", "{{status}}")],
        stacked=True,
    )
    clicked = link("Show these steps", OVERVIEW, EXPLORER, status=label("status"))
    return with_links(coloured(panel, "completed", "failed", "expired", "cancelled"), links_override(clicked))


def _by_type() -> Any:
    panel = lines(
        Caption("Steps by type", "Steps that ended, per second; a step counts once.", "suffix:/s"),
        [promql(f"sum by (type) (rate({_STEPS}[$__rate_interval])) > 0", "{{type}}")],
        stacked=True,
    )
    return with_links(panel, links_override(link("Show these steps", OVERVIEW, EXPLORER, type=label("type"))))


def _success() -> Any:
    panel = lines(
        Caption(
            "Success ratio by type",
            "Completed steps among those that completed, failed or expired. No line: no step ended.",
            "percentunit",
        ),
        [
            promql(
                f"sum by (type) (rate({_COMPLETED}[$__rate_interval]))"
                f" / (sum by (type) (rate({_JUDGED}[$__rate_interval])) > 0)",
                "{{type}}",
            )
        ],
    )
    panel.max(1).axis_soft_min(0.9)
    clicked = link(
        "Show the failed and expired ones", OVERVIEW, EXPLORER, type=label("type"), status=("failed", "expired")
    )
    return with_links(panel, links_override(clicked))


def _failures() -> Any:
    panel = lines(
        Caption(
            "Failures by category",
            "Failed and expired steps per second by error category. A retry can help for rate_limit, server and "
            "timeout, but not for quota, auth, invalid_request and content_filter.",
            "suffix:/s",
        ),
        [promql(f"sum by (error_category) (rate({_FAILURES}[$__rate_interval])) > 0", "{{error_category}}")],
        stacked=True,
    )
    clicked = link("Show these steps", OVERVIEW, EXPLORER, error_category=label("error_category"))
    return with_links(panel.span(12), links_override(clicked))


def _burn() -> Any:
    """Return how fast the budget is spent; 14.4 is the factor of the fast paging alert."""
    failing = f"1 - sum(rate({_COMPLETED}[$__rate_interval])) / (sum(rate({_JUDGED}[$__rate_interval])) > 0)"
    return lines(
        Caption(
            "Error budget burn rate",
            "How fast the error budget is spent: at 1 the objective is just met, at 10 the budget of 30 days is "
            "spent in three days. No line: no step ended.",
            "none",
        ),
        [promql(f"({failing}) / (1 - $objective)", "burn rate")],
        Limits(warn=1, bad=14.4),
    ).span(12)


def _heatmap() -> Any:
    return buckets(
        Caption(
            "Durations",
            "Ended steps by how long they took; the darker, the more. Each blue dot is one step: point at it and "
            "follow its link to see the step with its run.",
            "s",
        ),
        f"sum by (le) (increase(runstep_step_duration_seconds_bucket{{{_SELECTED}}}[$__rate_interval]))",
    )


def _percentiles() -> Any:
    by_bucket = f"sum by (le) (rate({_DURATIONS}[$__rate_interval]))"
    panel = lines(
        Caption(
            "Duration percentiles",
            'Time from creation to completion, estimated from histogram buckets; the board "Run step explorer" has '
            "exact values.",
            "s",
        ),
        [
            promql(f"histogram_quantile({share}, {by_bucket})", name, ref)
            for share, name, ref in ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
        ],
        Limits(warn=60, bad=300),
    )
    return panel.span(6).height(10)


def _slow_types() -> Any:
    by_bucket = f"sum by (le, type) (rate({_DURATIONS}[$__rate_interval]))"
    panel = lines(
        Caption(
            "p95 by type",
            "95 % of the completed steps of a type took at most this long, estimated from histogram buckets.",
            "s",
        ),
        [promql(f"histogram_quantile(0.95, {by_bucket}) >= 0", "{{type}}")],
        Limits(warn=60, bad=300),
    )
    clicked = link("Show these steps", OVERVIEW, EXPLORER, type=label("type"))
    return with_links(panel.span(6).height(10), links_override(clicked))


def _tokens() -> Any:
    return lines(
        Caption("Tokens per second", "Tokens of ended steps, from the usage that their events report.", "short"),
        [promql(f"sum by (token_type) (rate(runstep_tokens_total{{{DAEMONS}}}[$__rate_interval]))", "{{token_type}}")],
        stacked=True,
    )


def _tool_calls() -> Any:
    return lines(
        Caption("Tool calls per second", "Tool calls of ended steps, by tool type.", "suffix:/s"),
        [
            promql(
                f"sum by (tool_type) (rate(runstep_tool_calls_total{{{DAEMONS}}}[$__rate_interval])) > 0",
                "{{tool_type}}",
            )
        ],
        stacked=True,
    )


def _backfilled() -> Any:
    panel = lines(
        Caption(
            "Backfilled steps per second",
            "Steps that ended more than a day (by default) before they were read. They count in no other panel of "
            "this board.",
            "suffix:/s",
        ),
        [
            promql(
                f"sum by (status) (rate(runstep_backfilled_steps_total{{{_SELECTED}}}[$__rate_interval])) > 0",
                "{{status}}",
            )
        ],
        stacked=True,
    )
    return coloured(panel, "completed", "failed", "expired", "cancelled")
