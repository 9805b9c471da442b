"""Builds the four dashboards and writes them as the JSON that Grafana's file provisioning loads.

    python -m deploy.grafana.build            write the files
    python -m deploy.grafana.build --check    exit 1 if the files are not what this code builds

Classic JSON, since file provisioning does not accept the newer schema; committed, so that Grafana needs no Python.
"""

import json
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.boards import ingest_pipeline, run_and_step_detail, run_step_explorer, run_steps_overview
from deploy.grafana.navigation import EXPLORER, INGEST, OVERVIEW, STEP, TAG, Board, link_bar
from deploy.grafana.queries.selectors import DAEMONS
from deploy.grafana.style import PROMETHEUS
from deploy.grafana.variables import variables

FOLDER: Final = Path(__file__).parent / "dashboards"


class Plan(NamedTuple):
    """What a board is made of: its description, its rows of panels, and the time range that it opens with."""

    board: Board
    description: str
    sections: Callable[[], Sequence[tuple[str, Sequence[Any]]]]
    since: str
    refresh: str = ""


PLANS: Final = (
    Plan(
        OVERVIEW,
        "How many run steps end, how many of them fail, how long they take, and how much error budget is left.",
        run_steps_overview.sections,
        "now-6h",
        "30s",
    ),
    Plan(
        EXPLORER,
        "Find steps by assistant, status, tool, error or text. Lists the slowest steps, errors, tools and tokens.",
        run_step_explorer.sections,
        "now-24h",
    ),
    Plan(
        STEP,
        "One run over time, and one of its steps: fields, error, details, and every event as received. The time range "
        "does not matter: ids are found at any time.",
        run_and_step_detail.sections,
        "now-24h",
    ),
    Plan(
        INGEST,
        "Which records are late, rejected or lost between Kafka and ClickHouse, and at which stage.",
        ingest_pipeline.sections,
        "now-3h",
        "30s",
    ),
)


def build(plan: Plan) -> dashboard.Dashboard:
    """Return a dashboard: its variables, the links at the top, then its rows of panels."""
    board = (
        builders.Dashboard(plan.board.title)
        .uid(plan.board.uid)
        .description(plan.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time(plan.since, "now")
        .refresh(plan.refresh)
        .link(link_bar())
    )
    if "instance" in plan.board.variables:
        board.annotation(_starts()).annotation(_rebalances())
    for variable in variables(plan.board):
        board.with_variable(variable)
    numbers = count(1)
    for title, panels in plan.sections():
        board.with_row(builders.Row(title).id(next(numbers)))
        for panel in panels:
            board.with_panel(panel.id(next(numbers)))
    return board.build()


def render(plan: Plan) -> str:
    """Return a dashboard as text, the same for the same code."""
    return json.dumps(build(plan), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the dashboards, or with `--check` compare them; return the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m deploy.grafana.build [--check]\n")
        return 64
    wanted = {folder / plan.board.file: render(plan) for plan in PLANS}
    if not arguments:
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [f"{path.name} (no longer built)" for path in folder.glob("*.json") if path not in wanted]
    for name in stale:
        sys.stderr.write(f"{name} is not what the code builds; run: python -m deploy.grafana.build\n")
    return 1 if stale else 0


def _starts() -> builders.AnnotationQuery:
    """Mark each start at its own time: the value is a time, in milliseconds as Grafana expects it."""
    expr = f"max by (instance, worker) (process_start_time_seconds{{{DAEMONS}}}) * 1000"
    return (
        _annotation("Daemon started", "blue", expr)
        .use_value_for_time(use_value_for_time=True)
        .title_format("Started")
        .text_format("{{instance}} {{worker}} started")
    )


def _rebalances() -> builders.AnnotationQuery:
    revoked = f'runstep_rebalances_total{{{DAEMONS}, kind=~"revoked|lost"}}'
    expr = f"sum by (instance) (increase({revoked}[$__rate_interval])) > 0"
    return (
        _annotation("Partitions taken away", "purple", expr)
        .title_format("Rebalance")
        .text_format("the group took partitions from {{instance}}")
    )


def _annotation(name: str, colour: str, expr: str) -> builders.AnnotationQuery:
    target = prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(PROMETHEUS).range()
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(PROMETHEUS)
        .enable(enable=True)
        .icon_color(colour)
        .expr(expr)
        .target(target)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
