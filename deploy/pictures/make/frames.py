"""Data frames made from the answers of Prometheus and ClickHouse, as Grafana's two data sources make them.

Pure. Times are epoch milliseconds; what JSON cannot say (NaN, infinity) is null, as it is in Grafana's own answers.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Frame = dict[str, Any]
_WRAPPED: Final = re.compile(r"^(?:Nullable|LowCardinality|SimpleAggregateFunction\(\w+, )\(?(.*)\)$")
_WHOLE: Final = re.compile(r"^U?Int\d+$")


def of_range(series: Sequence[Mapping[str, Any]], ref: str, legend: str, step: float) -> list[Frame]:
    """Return a frame a series, named by the legend format."""
    return [_series(ref, one["metric"], legend, one["values"], step) for one in series]


def of_instant(samples: Sequence[Mapping[str, Any]], ref: str, legend: str) -> list[Frame]:
    """Return a frame of one value for each series."""
    return [_series(ref, one["metric"], legend, [one["value"]], None) for one in samples]


def of_instant_table(samples: Sequence[Mapping[str, Any]], ref: str, *, alone: bool) -> list[Frame]:
    """Return one table: the time, a column a label, and the value, named after the query unless it is `alone`."""
    labels = sorted({label for one in samples for label in one["metric"]})
    columns = [_field(label, "string", [one["metric"].get(label, "") for one in samples]) for label in labels]
    return [
        _frame(
            ref,
            "table",
            [
                _field("Time", "time", [_ms(one["value"][0]) for one in samples]),
                *columns,
                _field("Value" if alone else f"Value #{ref}", "number", [_number(one["value"][1]) for one in samples]),
            ],
        )
    ]


def of_buckets(series: Sequence[Mapping[str, Any]], ref: str, step: float) -> list[Frame]:
    """Return one heatmap: a column a bucket, smallest first, each with only what the smaller ones do not hold."""
    ordered = sorted(series, key=lambda one: float(one["metric"]["le"]))
    times = sorted({time for one in ordered for time, _ in one["values"]})
    below: dict[float, float] = dict.fromkeys(times, 0.0)
    columns = []
    for one in ordered:
        counts = {time: _number(text) or 0.0 for time, text in one["values"]}
        columns.append(
            _field(one["metric"]["le"], "number", [max(0.0, counts.get(time, 0.0) - below[time]) for time in times])
        )
        below |= counts
    time = _field("Time", "time", [_ms(one) for one in times], interval=step * 1000)
    return [_frame(ref, "heatmap", [time, *columns])] if columns else []


def of_exemplars(series: Iterable[Mapping[str, Any]], ref: str, most: int) -> list[Frame]:
    """Return the exemplars as points in time, thinned to `most`: Grafana too shows the outstanding ones only."""
    found = sorted(
        ((_ms(exemplar["timestamp"]), float(exemplar["value"])) for one in series for exemplar in one["exemplars"]),
    )
    found = found[:: max(1, math.ceil(len(found) / most))]
    fields = [_field("Time", "time", [at for at, _ in found]), _field("Value", "number", [value for _, value in found])]
    return [_frame(ref, "exemplars", fields)] if found else []


def of_table(answer: Mapping[str, Any], ref: str) -> list[Frame]:
    """Return ClickHouse's answer (FORMAT JSON) as one table with typed columns."""
    return [_frame(ref, "table", [_column(one, answer["data"]) for one in answer["meta"]])]


def of_wide(answer: Mapping[str, Any], ref: str) -> list[Frame]:
    """Return ClickHouse's answer as a time series: each combination of the text columns becomes a column of its own."""
    columns = [_column(one, answer["data"]) for one in answer["meta"]]
    time = next(column for column in columns if column["type"] == "time")
    texts = [column for column in columns if column["type"] == "string"]
    numbers = [column for column in columns if column["type"] == "number"]
    if not texts:
        return [_frame(ref, "series", [time, *numbers])]
    moments = sorted(set(time["values"]))
    place = {moment: index for index, moment in enumerate(moments)}
    wide: dict[tuple[str, tuple[tuple[str, str], ...]], list[Any]] = {}
    for row, moment in enumerate(time["values"]):
        labels = tuple((column["name"], column["values"][row]) for column in texts)
        for number in numbers:
            wide.setdefault((number["name"], labels), [None] * len(moments))[place[moment]] = number["values"][row]
    fields = [_field(name, "number", values, labels=dict(labels)) for (name, labels), values in sorted(wide.items())]
    return [_frame(ref, "series", [_field(time["name"], "time", moments), *fields])]


def legend_of(legend: str, labels: Mapping[str, str]) -> str:
    """Fill a legend format in; without one, a series is called as PromQL writes it."""
    if legend and legend != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend)
    if legend and len(labels) == 1:
        return next(iter(labels.values()))
    named = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{named}}}" if named else "") or "Value"


def _series(
    ref: str, labels: Mapping[str, str], legend: str, values: Iterable[Sequence[Any]], step: float | None
) -> Frame:
    pairs = list(values)
    value = _field("Value", "number", [_number(text) for _, text in pairs], labels=dict(labels))
    value["config"]["displayNameFromDS"] = legend_of(legend, labels)
    interval: dict[str, Any] = {} if step is None else {"interval": step * 1000}
    return _frame(ref, "series", [_field("Time", "time", [_ms(time) for time, _ in pairs], **interval), value])


def _frame(ref: str, kind: str, fields: list[dict[str, Any]]) -> Frame:
    return {"refId": ref, "kind": kind, "fields": fields}


def _field(
    name: str, kind: str, values: list[Any], labels: dict[str, str] | None = None, **config: Any
) -> dict[str, Any]:
    return {"name": name, "type": kind, "values": values, "config": config} | ({"labels": labels} if labels else {})


def _column(described: Mapping[str, str], data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name, kind = described["name"], described["type"]
    while match := _WRAPPED.match(kind):
        kind = match[1]
    values = [row[name] for row in data]
    if kind.startswith("Date"):
        return _field(name, "time", values)
    if kind == "Bool":
        return _field(name, "boolean", values)
    if _WHOLE.match(kind):
        return _field(name, "number", [None if value is None else int(value) for value in values])
    if kind.startswith(("Float", "Decimal")):
        return _field(name, "number", [_number(value) for value in values])
    if kind.startswith(("Array", "Map", "Tuple", "JSON")):
        return _field(name, "other", values)
    return _field(name, "string", values)


def _number(text: Any) -> float | None:
    value = math.nan if text is None else float(text)
    return value if math.isfinite(value) else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
