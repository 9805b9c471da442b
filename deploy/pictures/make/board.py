"""One dashboard with the answers to its queries: what the page draws."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from deploy.pictures.make import frames
from deploy.pictures.make.frames import Frame
from deploy.pictures.make.story import DATABASE, Scene
from tests.servers.addresses import ClickHouseAddress, ClickHouseRefused
from tests.servers.prometheus import PrometheusAddress
from tests.support.dashboards import Range, expand_promql, expand_sql, load

WIDTH: Final = 1600
ROW: Final = 38
"""Pixels of a grid row, its gap included."""
HEADER: Final = 96
FOOT: Final = 12
STEP: Final = 5
"""Seconds between two points, as Grafana takes for a data source with a scrape interval of as much."""
EXEMPLARS: Final = 60


class View(NamedTuple):
    """The time range of a dashboard, and the values of its variables."""

    span: Range
    chosen: Mapping[str, str]


class PanelQueries:
    """Runs the queries of panels on the Prometheus and the ClickHouse of the run."""

    def __init__(self, scene: Scene, view: View) -> None:
        self._prometheus = PrometheusAddress(scene.prometheus, Path())
        self._clickhouse = ClickHouseAddress(scene.clickhouse)
        self.view = view

    def answers(self, panel: Mapping[str, Any]) -> list[Frame]:
        """Return the frames of all of a panel's targets that are not hidden."""
        targets = [target for target in panel.get("targets", []) if not target.get("hide")]
        return [frame for target in targets for frame in self._target(target, panel["type"], alone=len(targets) == 1)]

    def moments(self, annotation: Mapping[str, Any]) -> list[tuple[int, int]]:
        """Return when an annotation's expression has a value: (from, to) in milliseconds, joined where they touch."""
        series = self._range(self._expanded(annotation["expr"]))
        if annotation.get("useValueForTime"):
            return [(at, at) for at in sorted({int(float(value)) for one in series for _, value in one["values"]})]
        times = sorted({time for one in series for time, value in one["values"] if float(value)})
        found: list[tuple[int, int]] = []
        for time in times:
            at = round(time * 1000)
            if found and at - found[-1][1] <= STEP * 1000:
                found[-1] = (found[-1][0], at)
            else:
                found.append((at, at))
        return found

    def rows(self, sql: str) -> dict[str, Any]:
        """Query ClickHouse with the variables filled in."""
        chosen = {name: [value] for name, value in self.view.chosen.items()}
        text = expand_sql(sql, self.view.span, chosen)
        answer: dict[str, Any] = json.loads(
            self._clickhouse.query(
                f"{text}\nFORMAT JSON", database=DATABASE, output_format_json_quote_64bit_integers="0"
            )
        )
        for column in answer["meta"]:
            if "Date" in column["type"] and "Array" not in column["type"]:
                for row in answer["data"]:
                    row[column["name"]] = _milliseconds(row[column["name"]])
        return answer

    def _target(self, target: Mapping[str, Any], kind: str, *, alone: bool) -> Iterator[Frame]:
        ref = target["refId"]
        if "rawSql" in target:
            answer = self.rows(target["rawSql"])
            yield from (frames.of_table if target.get("format", 0) else frames.of_wide)(answer, ref)
            return
        expr, legend = self._expanded(target["expr"]), target.get("legendFormat", "")
        if target.get("format") == "heatmap" or (kind == "heatmap" and legend == "{{le}}"):
            yield from frames.of_buckets(self._range(expr), ref, STEP)
        elif target.get("instant") and target.get("format") == "table":
            yield from frames.of_instant_table(self._instant(expr), ref, alone=alone)
        elif target.get("instant"):
            yield from frames.of_instant(self._instant(expr), ref, legend)
        else:
            yield from frames.of_range(self._range(expr), ref, legend, STEP)
        if target.get("exemplar"):
            found = self._prometheus.query_exemplars(expr, self.view.span.start, self.view.span.end)
            yield from frames.of_exemplars(found, ref, EXEMPLARS)

    def _expanded(self, expr: str) -> str:
        known = {"__rate_interval": f"{4 * STEP}s", "__interval": f"{STEP}s"}
        return expand_promql(expr, self.view.span, **known)

    def _range(self, expr: str) -> list[dict[str, Any]]:
        start, end = (int(moment / STEP) * STEP for moment in self.view.span)
        return self._prometheus.query_range(expr, start, end, f"{STEP}s")

    def _instant(self, expr: str) -> list[dict[str, Any]]:
        return self._prometheus.query(expr, at=self.view.span.end)


def picture(path: Path, scene: Scene, view: View, theme: str) -> dict[str, Any]:
    """Return everything that the page needs to draw the dashboard of a file."""
    board = load(path)
    queries = PanelQueries(scene, view)
    panels = [_answered(queries, panel) for panel in _laid_out(board["panels"])]
    rows = max(one["panel"]["gridPos"]["y"] + one["panel"]["gridPos"]["h"] for one in panels)
    return {
        "title": board["title"],
        "theme": theme,
        "width": WIDTH,
        "height": HEADER + rows * ROW + FOOT,
        "step": STEP * 1000,
        "range": {"from": view.span.start * 1000, "to": view.span.end * 1000, "label": _label(view.span)},
        "variables": list(_variables(board, view.chosen)),
        "panels": panels,
        "marks": list(_marks(board, queries)),
    }


def _answered(queries: PanelQueries, panel: dict[str, Any]) -> dict[str, Any]:
    """Return a panel with its answers, or with the error that Grafana would show in its corner."""
    try:
        return {"panel": panel, "answers": queries.answers(panel)}
    except (ClickHouseRefused, ValueError, LookupError) as error:
        return {"panel": panel, "answers": [], "error": str(error)}


def _laid_out(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the panels as they lie; a collapsed row stays closed."""
    for panel in panels:
        yield panel if panel["type"] != "row" else {**panel, "panels": []}


def _variables(board: Mapping[str, Any], chosen: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for variable in board["templating"]["list"]:
        if variable.get("hide", 0) not in (0, "dontHide"):
            continue
        current = variable.get("current", {}).get("text", "")
        text = ", ".join(current) if isinstance(current, list) else str(current)
        name = variable["name"]
        yield {"name": name, "label": variable.get("label") or name, "value": chosen.get(name, text)}


def _marks(board: Mapping[str, Any], queries: PanelQueries) -> Iterator[dict[str, Any]]:
    for annotation in board.get("annotations", {}).get("list", []):
        if not annotation.get("enable"):
            continue
        for begin, end in queries.moments(annotation) if "expr" in annotation else []:
            yield {"from": begin, "to": end, "color": annotation["iconColor"], "title": annotation["name"]}


def _milliseconds(text: str | None) -> int | None:
    if text is None:
        return None
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def _label(span: Range) -> str:
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in span)
    same_day = start.date() == end.date()
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}} UTC"
