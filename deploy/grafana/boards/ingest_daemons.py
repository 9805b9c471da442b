"""The panels about daemons and alerts on the board "Ingest pipeline": builds, partitions, CPU, memory."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.grafana.prometheus_panels import joined, lines, number, promql
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import HEIGHT, Caption, Column, Limits, thresholds

# An alert about no single daemon has no instance; it is shown whichever daemon is selected.
_ALERTS: Final = 'alertname=~"RunStep.*", job=~"$job", instance=~"$instance|"'
_STARTED: Final = f"max by (instance, worker) (process_start_time_seconds{{{DAEMONS}}})"


def firing() -> Any:
    """Return the figure "Alerts firing" of the first row."""
    return number(
        Caption("Alerts firing", "Alerts of the rules in deploy/prometheus that fire now.", "short"),
        f'count(ALERTS{{{_ALERTS}, alertstate="firing"}}) or vector(0)',
        thresholds(Limits(bad=1)),
    )


def panels() -> Sequence[Any]:
    """Return the panels of the row "Daemons and alerts"."""
    return (_alerts(), _members(), _assigned(), _processor(), _memory())


def _alerts() -> Any:
    return (
        joined(
            Caption(
                "Alerts",
                "Alerts that fire, and pending ones: their condition holds, but not yet long enough. deploy/runbooks "
                "has a page for each, with what to do.",
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
            "The daemons that Prometheus scrapes, with build, uptime and partitions. Different versions side by side "
            "mean an upgrade in progress, or one that stopped halfway.",
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
            "How the group divides the partitions; a daemon with 0 is a standby.",
            "short",
        ),
        [promql(f"sum by (instance) (runstep_assigned_partitions{{{DAEMONS}}})", "{{instance}}")],
    )


def _processor() -> Any:
    return lines(
        Caption("CPU by daemon", "CPU cores in use; 1 means one core all the time.", "none"),
        [promql(f"sum by (instance) (rate(process_cpu_seconds_total{{{DAEMONS}}}[$__rate_interval]))", "{{instance}}")],
    )


def _memory() -> Any:
    return lines(
        Caption(
            "Memory by daemon",
            "Resident memory. It grows with the rows in memory, then stays about level.",
            "bytes",
        ),
        [promql(f"sum by (instance) (process_resident_memory_bytes{{{DAEMONS}}})", "{{instance}}")],
    )
