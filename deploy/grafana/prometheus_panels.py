"""Panels for what Prometheus answers: figures, lines, heatmaps, state bands, and tables of labels."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.style import (
    HEIGHT,
    NO_LIMITS,
    PROMETHEUS,
    Caption,
    Column,
    Limits,
    framed,
    over_time,
    table_frame,
    thresholds,
    words,
)


def promql(expr: str, legend: str = "", ref_id: str = "A") -> prometheus.Dataquery:
    """Return a query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).range().datasource(PROMETHEUS)


def instant(expr: str, ref_id: str = "A", legend: str = "") -> prometheus.Dataquery:
    """Return a query for one value at the end of the time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).instant().datasource(PROMETHEUS)


def number(caption: Caption, expr: str, colours: dashboard_builders.ThresholdsConfig) -> stat.Panel:
    """Return one figure, for the first row of a board."""
    panel = framed(stat.Panel(), caption, PROMETHEUS)
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
    caption: Caption, targets: Sequence[prometheus.Dataquery], limits: Limits = NO_LIMITS, *, stacked: bool = False
) -> timeseries.Panel:
    """Return lines over time, their names in one line below the plot."""
    panel = over_time(caption, PROMETHEUS, stacked=stacked).thresholds(thresholds(limits))
    if limits.bad is not None:
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    for target in targets:
        panel.with_target(target)
    return panel


def buckets(caption: Caption, expr: str) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets with their exemplars: each dot is one step, and links to it."""
    target = promql(expr, "{{le}}").exemplar(exemplar=True).format(PromQueryFormat.HEATMAP)
    panel = framed(heatmap.Panel(), caption._replace(unit="short"), PROMETHEUS)
    return (
        panel.height(HEIGHT + 2)
        .span(12)
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(caption.unit))
        .exemplars_color("rgba(31, 96, 196, 0.9)")
        .with_target(target)
    )


def states(caption: Caption, target: prometheus.Dataquery, texts: Mapping[str, tuple[str, str]]) -> statetimeline.Panel:
    """Return bands over time; `texts` has the text and the colour of each value."""
    panel = framed(statetimeline.Panel(), caption, PROMETHEUS)
    return (
        panel.height(HEIGHT).span(6).mappings(words(texts)).show_value(common.VisibilityMode.NEVER).with_target(target)
    )


def joined(
    caption: Caption, exprs: Mapping[str, str], columns: Mapping[str, Column], *, hidden: Sequence[str] = ()
) -> table.Panel:
    """Return a table of the expressions' current values, a row for each set of labels; `exprs` are by column.

    `hidden` are the columns that are not shown: their labels say everything.
    """
    panel = table_frame(caption, PROMETHEUS, columns)
    refs = [chr(ord("A") + index) for index in range(len(exprs))]
    for ref, expr in zip(refs, exprs.values(), strict=True):
        target: prometheus.Dataquery = instant(expr, ref).format(PromQueryFormat.TABLE)
        panel.with_target(target)
    # Grafana calls the value of a single target Value, those of several Value #A, Value #B and so on.
    values = ["Value"] if len(refs) == 1 else [f"Value #{ref}" for ref in refs]
    names = dict(zip(values, exprs, strict=True))
    unseen = {"Time": True} | {value: True for value, name in names.items() if name in hidden}
    panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    return panel.with_transformation(
        dashboard.DataTransformerConfig("organize", options={"excludeByName": unseen, "renameByName": names})
    )
