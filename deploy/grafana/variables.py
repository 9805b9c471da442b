"""The variables at the top of a board, each with the same name on every board."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.navigation import Board
from deploy.grafana.style import CLICKHOUSE, PROMETHEUS, Prebuilt
from schemas.vocabulary import ERROR_CATEGORIES, STATUSES, STEP_TYPES

_OBJECTIVES: Final = ("0.9", "0.95", "0.99", "0.995", "0.999")
_OBJECTIVE: Final = "0.99"
_TAGS: Final = (
    "SELECT DISTINCT $__adhoc_column FROM run_steps_current WHERE created_at > subtractDays(now(), 7) LIMIT 1000"
)
_ALL: Final = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])


def variables(board: Board) -> list[Any]:
    """Return a board's variables."""
    own = {**_EVERYWHERE, **_ONLY_ON.get(board.uid, {})}
    return [own[name](name) for name in board.variables]


def _source(label: str, plugin: str, uid: str) -> Callable[[str], builders.DatasourceVariable]:
    return lambda name: (
        builders.DatasourceVariable(name)
        .label(label)
        .description(f"The {label} that the panels query.")
        .type(plugin)
        .current(dashboard.VariableOption(selected=True, text=label, value=uid))
    )


def _labels(label: str, description: str, query: str) -> Callable[[str], builders.QueryVariable]:
    return lambda name: (
        builders.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": name, "qryType": 1})
        .definition(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")  # also matches what has not been scraped yet, and series without the label
        .current(_ALL)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def _stored(label: str, description: str, sql: str) -> Callable[[str], builders.QueryVariable]:
    return lambda name: (
        builders.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(CLICKHOUSE)
        .query({"editorType": "sql", "rawSql": sql, "refId": name})
        .definition(sql)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(_ALL)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.DISABLED)
    )


def _words(label: str, description: str, words: Sequence[str]) -> Callable[[str], builders.CustomVariable]:
    """Offer these words; a reader can type others."""
    return lambda name: (
        builders.CustomVariable(name)
        .label(label)
        .description(description)
        .values(",".join(words))
        .multi(multi=True)
        .include_all(include_all=True)
        .allow_custom_value(allow_custom_value=True)
        .current(_ALL)
    )


def _text(label: str, description: str) -> Callable[[str], builders.TextBoxVariable]:
    return lambda name: (
        builders.TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value("")
        .current(dashboard.VariableOption(selected=True, text="", value=""))
    )


def _filters(name: str) -> builders.AdHocVariable:
    """The plugin offers what `clickhouse_adhoc_query` returns, and puts the filter in place of `$__adHocFilters`."""
    return (
        builders.AdHocVariable(name)
        .label("Filters")
        .description("Any other condition on a column of the view run_steps_current.")
        .datasource(CLICKHOUSE)
    )


def _tags(name: str) -> Prebuilt[dashboard.VariableModel]:
    constant = builders.ConstantVariable(name).label("What the filters offer").value(_TAGS).build()
    constant.hide = dashboard.VariableHide.HIDE_VARIABLE  # the SDK's builder cannot say it
    return Prebuilt(constant)


def _objective(name: str) -> builders.CustomVariable:
    return (
        builders.CustomVariable(name)
        .label("Objective")
        .description("The share of steps that should complete. The error budget is the rest.")
        .values(",".join(_OBJECTIVES))
        .allow_custom_value(allow_custom_value=True)
        .current(dashboard.VariableOption(selected=True, text=_OBJECTIVE, value=_OBJECTIVE))
    )


_BUILD: Final = 'runstep_build_info{job=~"$job"}'
_EVERYWHERE: Final[dict[str, Callable[[str], Any]]] = {
    "prometheus": _source("Prometheus", "prometheus", "runstep-prometheus"),
    "clickhouse": _source("ClickHouse", "grafana-clickhouse-datasource", "runstep-clickhouse"),
    "job": _labels(
        "Job", "The job under which Prometheus scrapes the daemons.", "label_values(runstep_build_info, job)"
    ),
    "instance": _labels("Daemon", "Only metrics of these daemons.", f"label_values({_BUILD}, instance)"),
    "topic": _labels(
        "Topic",
        "Only these topics, in the panels that show lag, lost records or dead letters.",
        'label_values(runstep_consumer_lag_records{job=~"$job", instance=~"$instance"}, topic)',
    ),
    "objective": _objective,
    "assistant": _stored(
        "Assistant",
        "Only steps of these assistants. The list has the 500 with most steps in the time range; you can type others.",
        """\
SELECT assistant_id FROM run_steps_current WHERE $__timeFilter(created_at)
GROUP BY assistant_id ORDER BY count() DESC LIMIT 500""",
    ),
    "tool": _stored(
        "Tool",
        "Only steps that called at least one of these tools.",
        """\
SELECT arrayJoin(tool_names) AS tool FROM run_steps_current WHERE $__timeFilter(created_at)
GROUP BY tool ORDER BY count() DESC LIMIT 500""",
    ),
    "status": _words("Status", "Only steps with this status.", sorted(STATUSES)),
    "error_category": _words("Error", "Only steps with an error of these categories.", sorted(ERROR_CATEGORIES)),
    "fingerprint": _text(
        "Fingerprint", "Only steps with the error of this fingerprint. A click on an error group fills it in."
    ),
    "text": _text(
        "Text",
        "Only steps with this text in an id, the error message or the details, in any case. Slow: it reads all texts.",
    ),
    "filters": _filters,
    "clickhouse_adhoc_query": _tags,
    "run_id": _text("Run", "Id of the run to show. May stay empty if a step is given."),
    "step_id": _text(
        "Step", "Id of the step to show. Links and exemplars fill it in. The step alone is enough to find its run."
    ),
}
_ONLY_ON: Final[dict[str, dict[str, Callable[[str], Any]]]] = {
    "runstep-overview": {
        "type": _labels(
            "Step type", "Only steps of these types.", 'label_values(runstep_steps_total{job=~"$job"}, type)'
        )
    },
    "runstep-explorer": {"type": _words("Step type", "Only steps of these types.", sorted(STEP_TYPES))},
}
