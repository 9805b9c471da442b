"""The looks of what ClickHouse answers, and of tables in general: rows, figures, bars, texts, lines over time.

The SDK has no type for the ClickHouse plugin's query; the one here is what the plugin stores.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import barchart, logs, stat, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.panels import (
    CLICKHOUSE,
    COLOURS,
    HEIGHT,
    PROMETHEUS,
    Made,
    Question,
    fixed,
    framed,
    instant,
    legend_below,
    neutral,
    over_time,
    words,
)

CLICKHOUSE_PLUGIN: Final = "4.20.0"
_FORMATS: Final = {"timeseries": 0, "table": 1, "logs": 2}  # the plugin's numbers


class ClickHouseTarget(variants.Dataquery):
    """A statement for the ClickHouse plugin."""

    def __init__(self, sql: str, kind: str = "table") -> None:
        self.sql = sql
        self.kind = kind
        self.ref_id = "A"

    def to_json(self) -> dict[str, object]:
        """Return the target as the plugin stores it."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": _FORMATS[self.kind],
            "pluginVersion": CLICKHOUSE_PLUGIN,
            "queryType": self.kind,
            "rawSql": self.sql,
            "refId": self.ref_id,
        }


class Column(NamedTuple):
    """How a column is shown; a table's other columns are shown as they come. `wrapped`: long texts in full."""

    unit: str = ""
    width: int = 0
    links: Sequence[dict[str, str]] = ()
    wrapped: bool = False

    def override(self) -> list[dashboard.DynamicConfigValue]:
        """Return what an override of the column's field takes."""
        values: list[tuple[str, Any]] = [
            ("unit", self.unit),
            ("custom.width", self.width),
            ("links", list(self.links)),
            ("custom.cellOptions", {"type": "auto", "wrapText": True} if self.wrapped else None),
        ]
        return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in values if value]


def sql(statement: str, kind: str = "table") -> Made[variants.Dataquery]:
    """Return a statement as a panel takes it."""
    return Made(ClickHouseTarget(statement, kind))


def rows(question: Question, statement: str, columns: Mapping[str, Column]) -> table.Panel:
    """Return a table of a statement's answer; words that have a colour everywhere have it here."""
    panel = _table(question, CLICKHOUSE, columns).with_target(sql(statement))
    states = {word: (word, colour) for word, colour in COLOURS.items()}
    cells = {"type": "color-text"}
    return panel.override_by_regexp(
        "/^(status|outcome)$/",
        [
            dashboard.DynamicConfigValue(id_val="mappings", value=words(states)),
            dashboard.DynamicConfigValue(id_val="custom.cellOptions", value=cells),
        ],
    )


def joined(
    question: Question, exprs: Mapping[str, str], columns: Mapping[str, Column], *, hidden: Sequence[str] = ()
) -> table.Panel:
    """Return a table of several expressions' values now, a row for each set of labels; `exprs` by column.

    `hidden` are the columns whose value says nothing, since the labels say it all.
    """
    panel = _table(question, PROMETHEUS, columns)
    refs = [chr(ord("A") + index) for index in range(len(exprs))]
    for ref, expr in zip(refs, exprs.values(), strict=True):
        target: prometheus_builders.Dataquery = instant(expr, ref).format(PromQueryFormat.TABLE)
        panel.with_target(target)
    # Of one target the value is called Value, of several Value #A and so on.
    values = ["Value"] if len(refs) == 1 else [f"Value #{ref}" for ref in refs]
    names = dict(zip(values, exprs, strict=True))
    unseen = {"Time": True} | {value: True for value, name in names.items() if name in hidden}
    panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    return panel.with_transformation(
        dashboard.DataTransformerConfig("organize", options={"excludeByName": unseen, "renameByName": names})
    )


def _table(question: Question, datasource: common.DataSourceRef, columns: Mapping[str, Column]) -> table.Panel:
    panel = (
        framed(table.Panel(), question, datasource)
        .height(HEIGHT)
        .span(24)
        .filterable(filterable=True)
        .cell_height(common.TableCellHeight.SM)
    )
    for name, column in columns.items():
        panel.override_by_name(name, column.override())
    return panel


def figures(question: Question, statement: str, units: Mapping[str, str]) -> stat.Panel:
    """Return the columns of a statement's one row as figures side by side; `units` are by column."""
    panel = (
        framed(stat.Panel(), question, CLICKHOUSE)
        .height(4)
        .span(24)
        .thresholds(neutral())
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .orientation(common.VizOrientation.VERTICAL)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/"))
        .with_target(sql(statement))
    )
    for column, unit in units.items():
        panel.override_by_name(column, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def stored_over_time(question: Question, statement: str, *, bars: bool = False) -> timeseries.Panel:
    """Return what a statement gives by time: lines, or bars on top of each other."""
    panel = over_time(question, CLICKHOUSE, stacked=bars).span(6).with_target(sql(statement, "timeseries"))
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(0)
    return panel


def waterfall(question: Question, statement: str, label: str, shift: str) -> barchart.Panel:
    """Return a bar a row, from where it began to where it ended; `shift` is the column before the bar, unseen.

    Every other column of numbers is a length, and has the colour of the state that it is called after.
    """
    panel = (
        framed(barchart.Panel(), question, CLICKHOUSE)
        .height(HEIGHT + 4)
        .span(12)
        .orientation(common.VizOrientation.HORIZONTAL)
        .stacking(common.StackingMode.NORMAL)
        .show_value(common.VisibilityMode.NEVER)
        .x_field(label)
        .bar_width(0.8)
        .fill_opacity(85)
        .line_width(1)
        .min(0)
        .full_highlight(full_highlight=True)
        .legend(legend_below())
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .with_target(sql(statement))
    )
    unseen = {"custom.fillOpacity": 0, "custom.lineWidth": 0}
    hidden = [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in unseen.items()]
    legend = dashboard.DynamicConfigValue(
        id_val="custom.hideFrom", value={"legend": True, "tooltip": False, "viz": False}
    )
    panel.override_by_name(shift, [fixed("transparent"), *hidden, legend])
    return panel


def texts(question: Question, statement: str) -> logs.Panel:
    """Return texts in full, JSON indented; the statement gives `timestamp`, `body`, and what else tells them apart."""
    panel = framed(logs.Panel(), question, CLICKHOUSE)
    return (
        panel.height(HEIGHT + 4)
        .span(12)
        .show_time(show_time=False)
        .show_labels(show_labels=False)
        .wrap_log_message(wrap_log_message=True)
        .prettify_log_message(prettify_log_message=True)
        .enable_log_details(enable_log_details=True)
        .sort_order(common.LogsSortOrder.ASCENDING)
        .dedup_strategy(common.LogsDedupStrategy.NONE)
        .with_target(sql(statement, "logs"))
    )
