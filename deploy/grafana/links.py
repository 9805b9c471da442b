"""Where the boards lead to each other: their fixed uids, what a reader can choose on each, and the links between them.

A link takes the time range along, and every choice that both boards have, so that nobody has to choose twice.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

TAG: Final = "runstep"


_HIDDEN: Final = ("clickhouse_adhoc_query",)
"""Constants, which are variables to Grafana only."""


class Board(NamedTuple):
    """A board's names; `choices` are its variables, in their order."""

    uid: str
    file: str
    title: str
    choices: tuple[str, ...]


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


def link(title: str, source: Board, target: Board, **chosen: str | Sequence[str]) -> dict[str, str]:
    """Return a data link from one board to another; `chosen` are the choices that the click itself makes.

    A chosen value may be one of Grafana's own variables, such as `${__value.raw:percentencode}`.
    """
    parts = ["${__url_time_range}"]
    for name, value in chosen.items():
        if name not in target.choices:
            raise ValueError(f"{target.title} has no variable {name}")
        parts += [f"var-{name}={one}" for one in ([value] if isinstance(value, str) else value)]
    shared = [name for name in target.choices if name in source.choices and name not in chosen and name not in _HIDDEN]
    parts += [f"${{{name}:queryparam}}" for name in shared]
    return {"title": title, "url": f"/d/{target.uid}?{'&'.join(parts)}"}


def cell(column: str) -> str:
    """Return what stands for a column's value of the clicked row."""
    return f"${{__data.fields.{column}:percentencode}}"


def label(name: str) -> str:
    """Return what stands for a label of the clicked series."""
    return f"${{__field.labels.{name}}}"


def leads(*links: dict[str, str]) -> list[dashboard.DynamicConfigValue]:
    """Return the links as what an override of a field takes."""
    return [dashboard.DynamicConfigValue(id_val="links", value=list[Any](links))]


def bar() -> builders.DashboardLink:
    """Return the bar of links at the top: every board of this project, with time range and choices."""
    return (
        builders.DashboardLink("Run steps")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
    )
