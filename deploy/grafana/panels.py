"""The looks that all panels share: one function a kind of panel, for what Prometheus answers.

Owns units of style (legends, thresholds, sizes, colours) so that the files with the questions hold nothing but
questions. `tables` holds the looks of what ClickHouse answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS: Final = common.DataSourceRef(type_val="prometheus", uid="${prometheus}")
CLICKHOUSE: Final = common.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${clickhouse}")
HEIGHT: Final = 8

COLOURS: Final = {
    "completed": "green",
    "failed": "red",
    "expired": "orange",
    "cancelled": "#8e8e8e",
    "in_progress": "blue",
    "stored": "green",
    "dead_lettered": "red",
    "ignored": "#8e8e8e",
    "ok": "green",
    "deferred": "yellow",
    "fenced": "orange",
    "lost": "red",
}
"""What a word means has one colour on every board."""

Built = TypeVar("Built", bound=Any)
Made_ = TypeVar("Made_")


class Made(cog.Builder[Made_]):
    """What is made already, where the SDK wants a builder."""

    def __init__(self, made: Made_) -> None:
        self._made = made

    def build(self) -> Made_:
        """Return it."""
        return self._made


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


def promql(expr: str, legend: str = "", ref_id: str = "A") -> prometheus.Dataquery:
    """Return a query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).range().datasource(PROMETHEUS)


def instant(expr: str, ref_id: str = "A", legend: str = "") -> prometheus.Dataquery:
    """Return a query for one value at the end of the time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).instant().datasource(PROMETHEUS)


def thresholds(limits: Limits) -> dashboard_builders.ThresholdsConfig:
    """Return green, yellow from `warn`, red from `bad`; colours are told to rise with the value."""
    steps = [dashboard.Threshold(value=None, color="green")]
    if limits.warn is not None:
        steps.append(dashboard.Threshold(value=limits.warn, color="yellow"))
    if limits.bad is not None:
        steps.append(dashboard.Threshold(value=limits.bad, color="red"))
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def neutral() -> dashboard_builders.ThresholdsConfig:
    """Return no colour: for values that are neither good nor bad, so that colour elsewhere means something."""
    steps = [dashboard.Threshold(value=None, color="text")]
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def falling(warn: float, bad: float) -> dashboard_builders.ThresholdsConfig:
    """Return red below `bad`, yellow below `warn`, green above: for values that are better when high."""
    steps = [
        dashboard.Threshold(value=None, color="red"),
        dashboard.Threshold(value=bad, color="yellow"),
        dashboard.Threshold(value=warn, color="green"),
    ]
    return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def framed(panel: Built, question: Question, datasource: common.DataSourceRef) -> Built:
    """Give a panel its title, the sentence behind it, its unit and its source."""
    built: Built = (
        panel.title(question.title).description(question.description).datasource(datasource).unit(question.unit)
    )
    return built


def words(texts: Mapping[str, tuple[str, str]]) -> list[dashboard.ValueMapping]:
    """Return a mapping of values to a text and a colour each."""
    options = {
        value: dashboard.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(texts.items())
    }
    return [dashboard.ValueMap(options=options)]


def number(question: Question, expr: str, colours: dashboard_builders.ThresholdsConfig) -> stat.Panel:
    """Return one figure, for the row that is read first."""
    panel = framed(stat.Panel(), question, PROMETHEUS)
    return (
        panel.height(4)
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
    """Return lines over time, their names in one line below; known words have their colours."""
    panel = over_time(question, PROMETHEUS, stacked=stacked).thresholds(thresholds(limits))
    if limits.bad is not None:
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    for target in targets:
        panel.with_target(target)
    return panel


def legend_below() -> common_builders.VizLegendOptions:
    """Return a legend that is names in lines below the plot."""
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def over_time(question: Question, datasource: common.DataSourceRef, *, stacked: bool) -> timeseries.Panel:
    """Return the look of everything that is drawn over time."""
    panel = (
        framed(timeseries.Panel(), question, datasource)
        .height(HEIGHT)
        .span(8)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(legend_below())
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    # Ratios lie close together near 1: on an axis from 0 they would be a flat line.
    if question.unit != "percentunit":
        panel.min(0)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    return panel


def coloured(panel: Built, *names: str) -> Built:
    """Give the series of these names the colours that the words have everywhere."""
    for name in names:
        panel.override_by_name(name, [fixed(COLOURS[name])])
    return panel


def fixed(colour: str) -> dashboard.DynamicConfigValue:
    """Return one colour, as an override takes it."""
    return dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def leading(panel: Built, links: list[dashboard.DynamicConfigValue]) -> Built:
    """Let every value of a panel lead somewhere."""
    built: Built = panel.override_by_regexp("/.*/", links)
    return built


def buckets(question: Question, expr: str) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets with their exemplars: each dot is one step, and leads to it."""
    target = promql(expr, "{{le}}").exemplar(exemplar=True).format(PromQueryFormat.HEATMAP)
    panel = framed(heatmap.Panel(), question._replace(unit="short"), PROMETHEUS)
    return (
        panel.height(HEIGHT + 2)
        .span(12)
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(question.unit))
        .exemplars_color("rgba(31, 96, 196, 0.9)")
        .with_target(target)
    )


def states(
    question: Question, target: prometheus.Dataquery, texts: Mapping[str, tuple[str, str]]
) -> statetimeline.Panel:
    """Return bands over time; `texts` gives each value its text and colour."""
    panel = framed(statetimeline.Panel(), question, PROMETHEUS)
    return (
        panel.height(HEIGHT).span(6).mappings(words(texts)).show_value(common.VisibilityMode.NEVER).with_target(target)
    )
