"""The looks that all panels share: one function a kind of panel, one query class a data source.

Owns units of style (legends, thresholds, sizes) so that the files with the questions hold nothing but questions.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS: Final = common.DataSourceRef(type_val="prometheus", uid="${prometheus}")
CLICKHOUSE: Final = common.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${clickhouse}")
CLICKHOUSE_PLUGIN: Final = "4.20.0"

_TABLE_FORMAT: Final = 1  # the plugin's number for "one frame, as a table"
_MAX_HEIGHT: Final = 9


class Question(NamedTuple):
    """What a panel asks: its title, and the sentence behind the title."""

    title: str
    description: str
    unit: str


class Limits(NamedTuple):
    """From which value on a panel turns yellow, and red; None where a colour has no meaning."""

    warn: float | None = None
    bad: float | None = None


NO_LIMITS: Final = Limits()


class ClickHouseTarget(variants.Dataquery):
    """A statement for the ClickHouse plugin; the SDK has no type of its own for it."""

    def __init__(self, sql: str, ref_id: str) -> None:
        self.sql = sql
        self.ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """Return the target as the plugin stores it."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": _TABLE_FORMAT,
            "pluginVersion": CLICKHOUSE_PLUGIN,
            "queryType": "table",
            "rawSql": self.sql,
            "refId": self.ref_id,
        }


class _Built(cog.Builder[variants.Dataquery]):
    def __init__(self, target: variants.Dataquery) -> None:
        self._target = target

    def build(self) -> variants.Dataquery:
        return self._target


def promql(expr: str, legend: str = "", ref_id: str = "A") -> prometheus.Dataquery:
    """Return a query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).range().datasource(PROMETHEUS)


def instant(expr: str, ref_id: str = "A") -> prometheus.Dataquery:
    """Return a query for one value at the end of the time range."""
    return prometheus.Dataquery().expr(expr).ref_id(ref_id).instant().datasource(PROMETHEUS)


def thresholds(limits: Limits) -> dashboard_builders.ThresholdsConfig:
    """Return green, yellow from `warn`, red from `bad`; colours are told to rise with the value."""
    steps = [dashboard.Threshold(value=None, color="green")]
    if limits.warn is not None:
        steps.append(dashboard.Threshold(value=limits.warn, color="yellow"))
    if limits.bad is not None:
        steps.append(dashboard.Threshold(value=limits.bad, color="red"))
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def falling(warn: float, bad: float) -> dashboard_builders.ThresholdsConfig:
    """Return red below `bad`, yellow below `warn`, green above: for values that are better when high."""
    steps = [
        dashboard.Threshold(value=None, color="red"),
        dashboard.Threshold(value=bad, color="yellow"),
        dashboard.Threshold(value=warn, color="green"),
    ]
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def number(question: Question, expr: str, colours: dashboard_builders.ThresholdsConfig) -> stat.Panel:
    """Return one figure, for the row that is read first."""
    return (
        stat.Panel()
        .title(question.title)
        .description(question.description)
        .datasource(PROMETHEUS)
        .unit(question.unit)
        .height(4)
        .span(3)
        .thresholds(colours)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(instant(expr))
    )


def lines(
    question: Question, targets: Sequence[prometheus.Dataquery], limits: Limits = NO_LIMITS, *, stacked: bool = False
) -> timeseries.Panel:
    """Return lines over time, with a table of last and highest values as the legend."""
    panel = (
        timeseries.Panel()
        .title(question.title)
        .description(question.description)
        .datasource(PROMETHEUS)
        .unit(question.unit)
        .min(0)
        .height(_MAX_HEIGHT)
        .span(8)
        .thresholds(thresholds(limits))
        .fill_opacity(40 if stacked else 10)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limits.bad is not None:
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    for target in targets:
        panel.with_target(target)
    return panel


def buckets(question: Question, expr: str) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets with their exemplars: each dot is one step, and leads to it."""
    target = promql(expr, "{{le}}").exemplar(exemplar=True).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(question.title)
        .description(question.description)
        .datasource(PROMETHEUS)
        .unit("short")
        .height(_MAX_HEIGHT)
        .span(16)
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(question.unit))
        .exemplars_color("rgba(31, 96, 196, 0.9)")
        .with_target(target)
    )


def states(question: Question, target: prometheus.Dataquery, words: dict[str, tuple[str, str]]) -> statetimeline.Panel:
    """Return bands over time; `words` gives each value its text and colour."""
    options = {
        value: dashboard.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    return (
        statetimeline.Panel()
        .title(question.title)
        .description(question.description)
        .datasource(PROMETHEUS)
        .unit(question.unit)
        .height(_MAX_HEIGHT)
        .span(8)
        .mappings([dashboard.ValueMap(options=options)])
        .show_value(common.VisibilityMode.NEVER)
        .with_target(target)
    )


def rows(question: Question, sql: str, units: dict[str, str]) -> table.Panel:
    """Return a table of a statement's answer; `units` are by column, and `question.unit` for all others."""
    panel = (
        table.Panel()
        .title(question.title)
        .description(question.description)
        .datasource(CLICKHOUSE)
        .unit(question.unit)
        .height(_MAX_HEIGHT)
        .span(24)
        .filterable(filterable=True)
        .with_target(_Built(ClickHouseTarget(sql, "A")))
    )
    for column, unit in units.items():
        panel.override_by_name(column, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    return panel
