"""Plots: rows of answers turned into plain data for plotly.js. Colours that depend on the theme are the page's.

plotly.js interprets a little HTML in its texts. So every text in a figure is a constant, from a closed vocabulary, or
went through `plot_label`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isnan
from typing import Any, Final

from pipeline.text import readable, utc_time
from pipeline.tools.html_report.period import Period

COLOURS: Final = {
    "completed": "#2a9d74",
    "stored": "#2a9d74",
    "in_progress": "#4184d8",
    "cancelled": "#8c96a5",
    "ignored": "#8c96a5",
    "expired": "#e39a2d",
    "failed": "#d4515f",
    "dead_lettered": "#d4515f",
    "p50": "#4184d8",
    "p95": "#e39a2d",
    "p99": "#d4515f",
    "input": "#4184d8",
    "output": "#9b6fc9",
}
"""Name of a series to its colour; each is legible on a light and on a dark background, and in print."""
_OTHERS: Final = (
    *("#4184d8", "#e39a2d", "#9b6fc9", "#2a9d74", "#d4515f", "#1fa3b8"),
    *("#b5793f", "#c764a4", "#7f9a33", "#8c96a5", "#5c6bc0", "#a1887f"),
)
_HEAT: Final = ((0.0, "rgba(65,132,216,0.12)"), (0.3, "#4184d8"), (0.65, "#9b6fc9"), (1.0, "#e0577a"))
_PERCENTILES: Final = ("p50", "p95", "p99")
_MAX_NAME_CHARS: Final = 40


@dataclass(frozen=True)
class Figure:
    """A plot with its title, what it shows, and the traces and layout for plotly.js.

    Attributes:
        key: its name within the page.
        columns: the same numbers for a table: the names of its columns, the first one that of the labels.
        rows: label and numbers of each row; None where there is no number.
    """

    key: str
    title: str
    description: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]] = field(repr=False)
    wide: bool = False


@dataclass(frozen=True)
class Caption:
    """The texts of a figure."""

    key: str
    title: str
    description: str
    unit: str


Series = Mapping[str, Sequence[float | None]]


def plot_label(text: str) -> str:
    """Return text that producers sent, escaped so that plotly.js shows it as it is."""
    return escape(readable(text, _MAX_NAME_CHARS), quote=False)


def counted(period: Period, counts: Iterable[tuple[str, int, int]], order: Sequence[str] = ()) -> Series:
    """Return counts given as (name, bucket, number) as series without holes.

    Names that `order` has come first and in that order, the others by their size.
    """
    sums: Counter[str] = Counter()
    by_name: dict[str, list[float | None]] = {}
    for name, bucket, number in counts:
        series = by_name.setdefault(name, [0] * period.buckets)
        series[bucket] = (series[bucket] or 0) + number
        sums[name] += number
    rank = {name: position for position, name in enumerate(order)}
    names = sorted(by_name, key=lambda name: (rank.get(name, len(rank)), -sums[name], name))
    return {name: by_name[name] for name in names}


def measured(period: Period, names: Sequence[str], points: Iterable[tuple[int, Sequence[float | None]]]) -> Series:
    """Return measurements given as (bucket, a value for each name) as series; a bucket without one is None."""
    series: dict[str, list[float | None]] = {name: [None] * period.buckets for name in names}
    for bucket, values in points:
        for name, value in zip(names, values, strict=True):
            series[name][bucket] = value
    return series


def bars(caption: Caption, period: Period, series: Series, *, wide: bool = False) -> Figure:
    """Return stacked bars over time, a bar a bucket."""
    starts = period.starts()
    traces = [
        {
            "type": "bar",
            "name": plot_label(name),
            "x": starts,
            "y": list(values),
            "width": period.width,
            "offset": 0,
            "marker": {"color": colour, "line": {"width": 0}},
            "hovertemplate": "%{y:,}",
        }
        for (name, values), colour in zip(series.items(), _colours(series), strict=False)
    ]
    layout = {**_layout(caption, period), "barmode": "stack", "bargap": 0}
    return _figure(caption, traces, layout, series, starts, wide=wide)


def lines(caption: Caption, period: Period, series: Series, **axis: Any) -> Figure:
    """Return lines over time; `axis` are properties of the value axis."""
    starts = period.starts()
    traces = [
        {
            "type": "scatter",
            # A single bucket between two gaps would draw no line.
            "mode": "lines+markers",
            "name": plot_label(name),
            "x": starts,
            **_centred(period),
            "y": list(values),
            "connectgaps": False,
            "line": {"color": colour, "width": 2},
            "marker": {"size": 4},
            "hovertemplate": f"%{{y:{axis.get('hoverformat', ',.3~f')}}}",
        }
        for (name, values), colour in zip(series.items(), _colours(series), strict=False)
    ]
    layout = _layout(caption, period)
    layout["yaxis"] = {**layout["yaxis"], **axis}
    return _figure(caption, traces, layout, series, starts)


def percentiles(caption: Caption, period: Period, rows: Iterable[Mapping[str, Any]]) -> Figure:
    """Return lines of the percentiles p50, p95 and p99, as many as there are, given in milliseconds."""
    points = [(row["bucket"], [_seconds(value) for value in row["percentiles"]]) for row in rows if not row["whole"]]
    names = _PERCENTILES[: len(points[0][1])] if points else ()
    return lines(caption, period, measured(period, names, points), hoverformat=",.3~f", ticksuffix=" s")


def _seconds(milliseconds: float) -> float | None:
    """Return seconds; the percentile of no values is NaN, which JSON does not have."""
    return None if isnan(milliseconds) else milliseconds / 1000


def heat(caption: Caption, period: Period, bins: Sequence[str], cells: Iterable[tuple[int, int, int]]) -> Figure:
    """Return a heatmap of counts, given as (bucket, bin, number), with time across and bins upwards."""
    starts = period.starts()
    grid: list[list[float | None]] = [[None] * period.buckets for _ in bins]
    for bucket, position, number in cells:
        grid[position][bucket] = number
    used = [position for position, row in enumerate(grid) if any(row)]
    low, high = (used[0], used[-1] + 1) if used else (0, 0)
    trace = {
        "type": "heatmap",
        "x": starts,
        **_centred(period),
        "y": list(bins[low:high]),
        "z": grid[low:high],
        "colorscale": [list(stop) for stop in _HEAT],
        "zmin": 0,
        "zmax": max((cell for row in grid for cell in row if cell), default=1),
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{x}<br>%{y}: %{z:,} steps<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": caption.unit, "side": "right"}},
    }
    layout = {**_layout(caption, period), "hovermode": "closest"}
    layout["yaxis"] = {"type": "category", "title": {"text": "duration"}, "automargin": True}
    series = dict(zip(bins[low:high], grid[low:high], strict=True))
    return _figure(caption, [trace], layout, series, starts, wide=True)


def ranking(
    caption: Caption, names: Sequence[str], series: Mapping[str, Sequence[float]], *, wide: bool = False
) -> Figure:
    """Return bars across, one a name, the first name on top."""
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": plot_label(part),
            "y": list(range(len(names))),
            "x": list(values),
            "marker": {"color": colour},
            "hovertemplate": "%{x:,}",
        }
        for (part, values), colour in zip(series.items(), _colours(series), strict=False)
    ]
    layout = {
        "barmode": "stack",
        "hovermode": "y unified",
        "xaxis": {"title": {"text": caption.unit}, "rangemode": "tozero", "automargin": True},
        # Positions identify the bars: two names that were cut to the same text stay two bars.
        "yaxis": {
            "autorange": "reversed",
            "tickvals": list(range(len(names))),
            "ticktext": [plot_label(name) for name in names],
            "automargin": True,
        },
        "showlegend": len(series) > 1,
    }
    rows = [
        (readable(name, _MAX_NAME_CHARS), [values[place] for values in series.values()])
        for place, name in enumerate(names)
    ]
    return Figure(caption.key, caption.title, caption.description, traces, layout, ["", *series], rows, wide)


def _figure(
    caption: Caption,
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    series: Series,
    starts: Sequence[str],
    *,
    wide: bool = False,
) -> Figure:
    columns = [f"from (UTC), {caption.unit}", *series]
    rows = [
        (start, numbers)
        for start, *numbers in zip(starts, *series.values(), strict=True)
        if any(number is not None and number != 0 for number in numbers)
    ]
    return Figure(caption.key, caption.title, caption.description, traces, layout, columns, rows, wide)


def _layout(caption: Caption, period: Period) -> dict[str, Any]:
    starts = period.starts()
    return {
        "hovermode": "x unified",
        "showlegend": True,
        "xaxis": {
            "type": "date",
            "range": [starts[0], _end(period)],
            "title": {"text": "UTC"},
            "automargin": True,
        },
        "yaxis": {"title": {"text": caption.unit}, "rangemode": "tozero", "automargin": True},
    }


def _centred(period: Period) -> dict[str, Any]:
    """Return what makes plotly.js draw a point in the middle of its bucket and name the bucket's beginning."""
    return {"xperiod": period.width, "xperiod0": utc_time(period.origin), "xperiodalignment": "middle"}


def _end(period: Period) -> str:
    return utc_time(period.origin + period.buckets * period.width)


def _colours(series: Series | Mapping[str, Sequence[float]]) -> Sequence[str]:
    """Return a colour for each series: that of its name, else the next one that no other series has."""
    taken = {COLOURS[name] for name in series if name in COLOURS}
    free = [colour for colour in _OTHERS if colour not in taken] or list(_OTHERS)
    others = iter(free * (1 + len(series) // len(free)))
    return [COLOURS.get(name) or next(others) for name in series]
