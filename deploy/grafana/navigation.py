"""How the boards link to each other: their fixed uids, the variables of each, and the links between them.

A link keeps the time range and the value of every variable that both boards have, so that a reader selects once.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

TAG: Final = "runstep"
_HIDDEN: Final = ("clickhouse_adhoc_query",)
"""Constants: Grafana stores them as variables, a reader never sees them."""


class Board(NamedTuple):
    """A board's names, and its variables in their order."""

    uid: str
    file: str
    title: str
    variables: tuple[str, ...]


OVERVIEW: Final = Board(
    "runstep-overview",
    "run-steps-overview.json",
    "Run steps overview",
    ("prometheus", "job", "instance", "type", "objective"),
)
EXPLORER: Final = Board(
    "runstep-explorer",
    "run-step-explorer.json",
    "Run step explorer",
    (
        "clickhouse",
        "assistant",
        "status",
        "type",
        "tool",
        "error_category",
        "fingerprint",
        "text",
        "filters",
        "clickhouse_adhoc_query",
    ),
)
STEP: Final = Board(
    "runstep-step", "run-and-step-detail.json", "Run and step detail", ("clickhouse", "run_id", "step_id")
)
INGEST: Final = Board(
    "runstep-ingest",
    "ingest-pipeline.json",
    "Ingest pipeline",
    ("prometheus", "clickhouse", "job", "instance", "topic"),
)


def link(title: str, source: Board, target: Board, **selected: str | Sequence[str]) -> dict[str, str]:
    """Return a data link from one board to another; `selected` are the variables that the click sets.

    A selected value may be one of Grafana's own variables, such as `${__value.raw:percentencode}`.
    """
    parts = ["${__url_time_range}"]
    for name, value in selected.items():
        if name not in target.variables:
            raise ValueError(f"{target.title} has no variable {name}")
        parts += [f"var-{name}={one}" for one in ([value] if isinstance(value, str) else value)]
    shared = [
        name for name in target.variables if name in source.variables and name not in selected and name not in _HIDDEN
    ]
    parts += [f"${{{name}:queryparam}}" for name in shared]
    return {"title": title, "url": f"/d/{target.uid}?{'&'.join(parts)}"}


def cell(column: str) -> str:
    """Return the placeholder for a column's value in the clicked row."""
    return f"${{__data.fields.{column}:percentencode}}"


def label(name: str) -> str:
    """Return the placeholder for a label of the clicked series."""
    return f"${{__field.labels.{name}:percentencode}}"


def links_override(*links: dict[str, str]) -> list[dashboard.DynamicConfigValue]:
    """Return the links as an override of a field."""
    return [dashboard.DynamicConfigValue(id_val="links", value=list[Any](links))]


def link_bar() -> builders.DashboardLink:
    """Return the links at the top: every board of this project, with the time range and the variables."""
    return (
        builders.DashboardLink("Run steps")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
    )
