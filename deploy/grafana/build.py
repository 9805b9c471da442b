"""Builds the dashboard "Run steps" and writes it as the JSON that Grafana's file provisioning loads.

    python -m deploy.grafana.build            write the file
    python -m deploy.grafana.build --check    exit 1 if the file is not what this code builds

Classic JSON, since file provisioning refuses the newer schema; committed, so that Grafana needs no Python.
"""

import json
import sys
from itertools import count
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana import ingest, steps, stored
from deploy.grafana.panels import PROMETHEUS

TARGET: Final = Path(__file__).parent / "dashboards" / "run-steps.json"


def build() -> dashboard.Dashboard:
    """Return the dashboard: figures first, then steps, then the pipeline, then the stored rows."""
    board = (
        builders.Dashboard("Run steps")
        .uid(stored.UID)
        .description("Durations and failures of run steps, the pipeline that stores them, and the steps themselves.")
        .tags(["runstep"])
        .readonly()
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .annotation(_rebalances())
    )
    for variable in (*_sources(), *_filters(), *_texts()):
        board.with_variable(variable)
    sections = (
        ("At a glance", (*steps.headline(), *ingest.headline())),
        ("Run steps", steps.panels()),
        ("Pipeline", ingest.panels()),
        ("Stored steps", stored.panels()),
    )
    numbers = count(1)
    for title, panels in sections:
        board.with_row(builders.Row(title).id(next(numbers)))
        for panel in panels:
            board.with_panel(panel.id(next(numbers)))
    return board.build()


def render() -> str:
    """Return the dashboard as text, the same for the same code."""
    return json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the dashboard, or with `--check` compare it; return the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m deploy.grafana.build [--check]\n")
        return 64
    text = render()
    if arguments:
        current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        if not current:
            sys.stderr.write(f"{TARGET.name} is not what the code builds; run: python -m deploy.grafana.build\n")
        return 0 if current else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def _sources() -> tuple[builders.DatasourceVariable, ...]:
    return tuple(
        builders.DatasourceVariable(name)
        .label(label)
        .type(plugin)
        .current(dashboard.VariableOption(selected=True, text=label, value=uid))
        for name, label, plugin, uid in (
            ("prometheus", "Prometheus", "prometheus", "runstep-prometheus"),
            ("clickhouse", "ClickHouse", "grafana-clickhouse-datasource", "runstep-clickhouse"),
        )
    )


def _filters() -> tuple[builders.QueryVariable, ...]:
    build_info = 'runstep_build_info{job=~"$job"}'
    lag = 'runstep_consumer_lag_records{job=~"$job", instance=~"$instance"}'
    return (
        _labels("job", "Job", "label_values(runstep_build_info, job)"),
        _labels("instance", "Daemon", f"label_values({build_info}, instance)"),
        _labels("topic", "Topic", f"label_values({lag}, topic)"),
        _labels("type", "Step type", 'label_values(runstep_steps_total{job=~"$job"}, type)'),
    )


def _labels(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": name, "qryType": 1})
        .definition(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")  # also matches what has not been scraped yet, and series without the label
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def _texts() -> tuple[builders.TextBoxVariable, ...]:
    return tuple(
        builders.TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value("")
        .current(dashboard.VariableOption(selected=True, text="", value=""))
        for name, label, description in (
            ("assistant", "Assistant", "Only steps of this assistant, in the tables of stored steps."),
            ("step", "Step", "The step to show at the end of the page; links and exemplars fill it in."),
        )
    )


def _rebalances() -> builders.AnnotationQuery:
    expr = (
        'sum by (instance) (increase(runstep_rebalances_total{job=~"$job", instance=~"$instance",'
        ' kind=~"revoked|lost"}[$__rate_interval])) > 0'
    )
    target = prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(PROMETHEUS).range()
    return (
        builders.AnnotationQuery()
        .name("Partitions taken away")
        .datasource(PROMETHEUS)
        .enable(enable=True)
        .icon_color("purple")
        .expr(expr)
        .title_format("Rebalance")
        .text_format("{{instance}} gave partitions away")
        .target(target)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
