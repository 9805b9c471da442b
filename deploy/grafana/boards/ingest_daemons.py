"""The daemons themselves: who is a member, with which build, on how much memory, and which alerts there are."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.prometheus_panels import joined, lines, number, promql
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import HEIGHT, Caption, Column, Limits, thresholds

# An alert that is about no single daemon has no instance, and is shown whichever daemon is chosen.
_ALERTS: Final = 'alertname=~"RunStep.*", job=~"$job", instance=~"$instance|"'
_STARTED: Final = f"max by (instance, worker) (process_start_time_seconds{{{DAEMONS}}})"


def firing() -> Any:
    """Return the figure of alerts that fire."""
    return number(
        Caption("Alerts firing", "Alerts of the rules in deploy/prometheus that fire now.", "short"),
        f'count(ALERTS{{{_ALERTS}, alertstate="firing"}}) or vector(0)',
        thresholds(Limits(bad=1)),
    )


def panels() -> Sequence[Any]:
    """Return the tables of daemons and of alerts, and what the daemons use."""
    return (_alerts(), _members(), _assigned(), _processor(), _memory())


def _alerts() -> Any:
    return (
        joined(
            Caption(
                "Alerts",
                "Alerts that fire, or are pending: true, but not yet for long enough. deploy/runbooks has a page for "
                "each, with what to do.",
                "none",
            ),
            {"value": f"max by (alertname, severity, alertstate, instance, topic, reason) (ALERTS{{{_ALERTS}}})"},
            {"alertname": Column(width=230), "alertstate": Column(width=110), "severity": Column(width=100)},
            hidden=("value",),
        )
        .height(HEIGHT)
        .span(9)
    )


def _members() -> Any:
    build = f"max by (instance, worker, version, revision, python) (runstep_build_info{{{DAEMONS}}})"
    return joined(
        Caption(
            "Daemons",
            "Who answers Prometheus, with which build, since when, and with how many partitions. Different versions "
            "side by side are an upgrade under way, or one that stopped half way.",
            "none",
        ),
        {
            "build": build,
            "up for": f"time() - {_STARTED}",
            "partitions": f"sum by (instance, worker) (runstep_assigned_partitions{{{DAEMONS}}})",
            "halted": f"sum by (instance, worker) (runstep_halted_partitions{{{DAEMONS}}})",
            "rows in memory": f"sum by (instance, worker) (runstep_buffer_rows{{{DAEMONS}}})",
        },
        {"python": Column(width=95), "version": Column(width=95), "up for": Column(unit="s", width=110)},
        hidden=("build",),
    ).span(15)


def _assigned() -> Any:
    return lines(
        Caption(
            "Partitions by daemon",
            "How the group shares the partitions; a daemon at 0 is a spare.",
            "short",
        ),
        [promql(f"sum by (instance) (runstep_assigned_partitions{{{DAEMONS}}})", "{{instance}}")],
    )


def _processor() -> Any:
    return lines(
        Caption("CPU by daemon", "Cores in use: 1 is one core all the time.", "none"),
        [promql(f"sum by (instance) (rate(process_cpu_seconds_total{{{DAEMONS}}}[$__rate_interval]))", "{{instance}}")],
    )


def _memory() -> Any:
    return lines(
        Caption(
            "Memory by daemon",
            "Resident memory. It follows the rows in memory, and then stays about level.",
            "bytes",
        ),
        [promql(f"sum by (instance) (process_resident_memory_bytes{{{DAEMONS}}})", "{{instance}}")],
    )
