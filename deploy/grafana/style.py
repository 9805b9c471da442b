"""The style that all panels share: colours, thresholds, legends, sizes, and how a column of a table is shown.

`prometheus_panels` and `clickhouse_panels` build whole panels from it; boards hold neither colours nor sizes that
repeat.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import common, dashboard

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
"""A status or outcome has the same colour on every board."""
YES_NO: Final = {"1": ("yes", "green"), "0": ("no", "red")}
"""Texts and colours of a gauge that is 1 or 0."""

Built = TypeVar("Built", bound=Any)
Model = TypeVar("Model")


class Prebuilt(cog.Builder[Model]):
    """A finished model, for where the SDK expects a builder."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def build(self) -> Model:
        """Return the model."""
        return self._model


class Caption(NamedTuple):
    """A panel's title, the description behind it, and the unit of its values."""

    title: str
    description: str
    unit: str


class Limits(NamedTuple):
    """The values from which a panel turns yellow and red; None: it does not."""

    warn: float | None = None
    bad: float | None = None


NO_LIMITS: Final = Limits()


def thresholds(limits: Limits) -> dashboard_builders.ThresholdsConfig:
    """Return green, yellow from `warn`, red from `bad`; for values that are worse when high."""
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


def framed(panel: Built, caption: Caption, datasource: common.DataSourceRef) -> Built:
    """Give a panel its title, description, unit and data source."""
    built: Built = panel.title(caption.title).description(caption.description).datasource(datasource).unit(caption.unit)
    return built


def words(texts: Mapping[str, tuple[str, str]]) -> list[dashboard.ValueMapping]:
    """Return a value mapping: a text and a colour for each value."""
    options = {
        value: dashboard.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(texts.items())
    }
    return [dashboard.ValueMap(options=options)]


def over_time(caption: Caption, datasource: common.DataSourceRef, *, stacked: bool) -> timeseries.Panel:
    """Return an empty panel for lines or bars over time."""
    panel = (
        framed(timeseries.Panel(), caption, datasource)
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
    if caption.unit != "percentunit":
        panel.min(0)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    return panel


def legend_below() -> common_builders.VizLegendOptions:
    """Return a legend: names in lines below the plot."""
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def coloured(panel: Built, *names: str) -> Built:
    """Give the series of these names their colours of `COLOURS`."""
    for name in names:
        panel.override_by_name(name, [fixed(COLOURS[name])])
    return panel


def fixed(colour: str) -> dashboard.DynamicConfigValue:
    """Return an override with one colour."""
    return dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def with_links(panel: Built, links: list[dashboard.DynamicConfigValue]) -> Built:
    """Put the links on every value of a panel."""
    built: Built = panel.override_by_regexp("/.*/", links)
    return built


class Column(NamedTuple):
    """How a table shows a column; columns without one have Grafana's defaults. `wrapped`: long texts in full."""

    unit: str = ""
    width: int = 0
    links: Sequence[dict[str, str]] = ()
    wrapped: bool = False

    def override(self) -> list[dashboard.DynamicConfigValue]:
        """Return the override of the column's field."""
        values: list[tuple[str, Any]] = [
            ("unit", self.unit),
            ("custom.width", self.width),
            ("links", list(self.links)),
            ("custom.cellOptions", {"type": "auto", "wrapText": True} if self.wrapped else None),
        ]
        return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in values if value]


def table_frame(caption: Caption, datasource: common.DataSourceRef, columns: Mapping[str, Column]) -> table.Panel:
    """Return a table without queries, over the full width; `columns` are by name."""
    panel = (
        framed(table.Panel(), caption, datasource)
        .height(HEIGHT)
        .span(24)
        .filterable(filterable=True)
        .cell_height(common.TableCellHeight.SM)
    )
    for name, column in columns.items():
        panel.override_by_name(name, column.override())
    return panel
