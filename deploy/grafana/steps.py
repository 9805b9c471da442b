"""What the agents do: how many run steps, how long, how well. All of it is counted once per step, by Prometheus."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.panels import NO_LIMITS, Limits, Question, buckets, falling, lines, number, promql, thresholds

_WHO: Final = 'job=~"$job", instance=~"$instance"'
_STEPS: Final = f'{_WHO}, type=~"$type"'
_JUDGED: Final = 'status=~"completed|failed|expired"'  # a cancelled step is nobody's failure


def headline() -> Sequence[Any]:
    """Return the figures that are read first: traffic, success, speed."""
    steps = f"runstep_steps_total{{{_STEPS}}}"
    completed = f'runstep_steps_total{{{_STEPS}, status="completed"}}'
    judged = f"runstep_steps_total{{{_STEPS}, {_JUDGED}}}"
    durations = f'runstep_step_duration_seconds_bucket{{{_STEPS}, status="completed"}}'
    return (
        number(
            Question("Steps per second", "Run steps that reached a terminal status.", "ops"),
            f"sum(rate({steps}[$__rate_interval]))",
            thresholds(NO_LIMITS),
        ),
        number(
            Question(
                "Success ratio",
                "Completed steps among those that completed, failed or expired, over the time range. Cancelled steps "
                "do not count.",
                "percentunit",
            ),
            f"sum(increase({completed}[$__range])) / (sum(increase({judged}[$__range])) > 0)",
            falling(warn=0.99, bad=0.95),
        ),
        number(
            Question("Failed or expired", "Steps that failed or expired in the time range.", "short"),
            f"sum(increase(runstep_step_failures_total{{{_STEPS}}}[$__range]))",
            thresholds(Limits(warn=1)),
        ),
        number(
            Question(
                "p95 duration",
                "95 of 100 completed steps of the time range took at most this long, as far as the buckets tell.",
                "s",
            ),
            f"histogram_quantile(0.95, sum by (le) (increase({durations}[$__range])))",
            thresholds(Limits(warn=60, bad=300)),
        ),
    )


def panels() -> Sequence[Any]:
    """Return rates, success, durations, failures, tokens and tool calls over time."""
    return (_rate(), _success(), _failures(), _percentiles(), _heatmap(), _tokens(), _tool_calls(), _backfilled())


def _rate() -> Any:
    return lines(
        Question("Steps by type and status", "Terminal steps per second; a step counts once.", "ops"),
        [
            promql(
                f"sum by (type, status) (rate(runstep_steps_total{{{_STEPS}}}[$__rate_interval])) > 0",
                "{{type}} {{status}}",
            )
        ],
        stacked=True,
    )


def _success() -> Any:
    completed = f'runstep_steps_total{{{_STEPS}, status="completed"}}'
    judged = f"runstep_steps_total{{{_STEPS}, {_JUDGED}}}"
    return lines(
        Question(
            "Success ratio by type",
            "Completed steps among those that completed, failed or expired. No line means no such step.",
            "percentunit",
        ),
        [
            promql(
                f"sum by (type) (rate({completed}[$__rate_interval]))"
                f" / (sum by (type) (rate({judged}[$__rate_interval])) > 0)",
                "{{type}}",
            )
        ],
    ).max(1)


def _failures() -> Any:
    failures = f"runstep_step_failures_total{{{_STEPS}}}"
    return lines(
        Question(
            "Failures by category",
            "Failed and expired steps per second by what went wrong. rate_limit, server and timeout may heal when "
            "tried again; quota, auth, invalid_request and content_filter do not.",
            "ops",
        ),
        [
            promql(
                f"sum by (error_category) (rate({failures}[$__rate_interval])) > 0",
                "{{error_category}}",
            )
        ],
        stacked=True,
    )


def _percentiles() -> Any:
    durations = f'runstep_step_duration_seconds_bucket{{{_STEPS}, status="completed"}}'
    by_bucket = f"sum by (le) (rate({durations}[$__rate_interval]))"
    return lines(
        Question(
            "Duration percentiles",
            "From created to completed. Estimated within histogram buckets; exact values are in the tables below.",
            "s",
        ),
        [
            promql(f"histogram_quantile({share}, {by_bucket})", name, ref)
            for share, name, ref in ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
        ],
        Limits(warn=60, bad=300),
    )


def _heatmap() -> Any:
    return buckets(
        Question(
            "Durations",
            "Ended steps by how long they took. Each dot is one step: click it to open the step below.",
            "s",
        ),
        f"sum by (le) (increase(runstep_step_duration_seconds_bucket{{{_STEPS}}}[$__rate_interval]))",
    )


def _tokens() -> Any:
    return lines(
        Question("Tokens per second", "Tokens of ended steps, as their usage tells.", "short"),
        [
            promql(
                f"sum by (token_type) (rate(runstep_tokens_total{{{_WHO}}}[$__rate_interval]))",
                "{{token_type}}",
            )
        ],
        stacked=True,
    )


def _tool_calls() -> Any:
    return lines(
        Question("Tool calls per second", "Tool calls of ended steps by the tool's type.", "ops"),
        [
            promql(
                f"sum by (tool_type) (rate(runstep_tool_calls_total{{{_WHO}}}[$__rate_interval])) > 0",
                "{{tool_type}}",
            )
        ],
        stacked=True,
    )


def _backfilled() -> Any:
    return lines(
        Question(
            "Backfilled steps per second",
            "Steps that ended long before they were read (a day, by default). They are in no other panel above.",
            "ops",
        ),
        [
            promql(
                f"sum by (status) (rate(runstep_backfilled_steps_total{{{_STEPS}}}[$__rate_interval])) > 0",
                "{{status}}",
            )
        ],
        stacked=True,
    )
