"""Panels for what ClickHouse answers: tables, figures, bars, texts, and lines over time.

The SDK has no type for the ClickHouse plugin's query; `ClickHouseTarget` is what the plugin stores.
"""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import barchart, logs, stat, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common, dashboard

from deploy.grafana.style import (
    CLICKHOUSE,
    COLOURS,
    HEIGHT,
    Caption,
    Column,
    Prebuilt,
    fixed,
    framed,
    legend_below,
    neutral,
    over_time,
    table_frame,
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


def sql(statement: str, kind: str = "table") -> Prebuilt[variants.Dataquery]:
    """Return a statement as a panel expects it."""
    return Prebuilt(ClickHouseTarget(statement, kind))


def rows(caption: Caption, statement: str, columns: Mapping[str, Column]) -> table.Panel:
    """Return a table of a statement's result; status and outcome have their colours of `COLOURS`."""
    panel = table_frame(caption, CLICKHOUSE, columns).with_target(sql(statement))
    states = {word: (word, colour) for word, colour in COLOURS.items()}
    cells = {"type": "color-text"}
    return panel.override_by_regexp(
        "/^(status|outcome)$/",
        [
            dashboard.DynamicConfigValue(id_val="mappings", value=words(states)),
            dashboard.DynamicConfigValue(id_val="custom.cellOptions", value=cells),
        ],
    )


def figures(caption: Caption, statement: str, units: Mapping[str, str]) -> stat.Panel:
    """Return the columns of a statement's one row as figures side by side; `units` are by column."""
    panel = (
        framed(stat.Panel(), caption, CLICKHOUSE)
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


def stored_over_time(caption: Caption, statement: str, *, bars: bool = False) -> timeseries.Panel:
    """Return a statement's result over time: lines, or stacked bars."""
    panel = over_time(caption, CLICKHOUSE, stacked=bars).span(6).with_target(sql(statement, "timeseries"))
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(0)
    return panel


def waterfall(caption: Caption, statement: str, label: str, shift: str) -> barchart.Panel:
    """Return a bar for each row, from its start to its end; `shift` is the column of the invisible part before it.

    Every other column of numbers is a length; the board gives it the colour of the status it is named after.
    """
    panel = (
        framed(barchart.Panel(), caption, CLICKHOUSE)
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


def texts(caption: Caption, statement: str) -> logs.Panel:
    """Return texts in full, JSON indented; the statement selects `timestamp`, `body` and what identifies the text."""
    panel = framed(logs.Panel(), caption, CLICKHOUSE)
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
