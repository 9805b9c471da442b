"""The data frames of the pictures are what Grafana's data sources make of the same answers."""

import json

from deploy.pictures.make.frames import (
    legend_of,
    of_buckets,
    of_exemplars,
    of_instant_table,
    of_range,
    of_table,
    of_wide,
)


def _columns(frame):
    return {field["name"]: field["values"] for field in frame["fields"]}


def test_a_series_is_a_frame_named_by_its_legend_in_milliseconds():
    series = [{"metric": {"type": "tool_calls"}, "values": [[10, "1.5"], [15.5, "2"]]}]
    (frame,) = of_range(series, "A", "{{type}} a second", 5)
    time, value = frame["fields"]
    assert (time["type"], time["values"], time["config"]) == ("time", [10_000, 15_500], {"interval": 5000})
    assert (value["type"], value["values"]) == ("number", [1.5, 2.0])
    assert value["config"]["displayNameFromDS"] == "tool_calls a second"


def test_what_json_cannot_say_is_null():
    series = [{"metric": {}, "values": [[0, "NaN"], [5, "+Inf"], [10, "0"]]}]
    (frame,) = of_range(series, "A", "p95", 5)
    assert json.loads(json.dumps(frame, allow_nan=False))["fields"][1]["values"] == [None, None, 0]


def test_legends_are_written_as_prometheus_does_without_a_format():
    assert legend_of("", {"__name__": "up", "job": "runstep"}) == 'up{job="runstep"}'
    assert legend_of("", {}) == "Value"
    assert legend_of("__auto", {"job": "runstep"}) == "runstep"
    assert legend_of("{{ job }} of {{missing}}", {"job": "runstep"}) == "runstep of "


def test_buckets_lose_what_the_smaller_ones_hold_and_stand_in_order():
    series = [
        {"metric": {"le": "+Inf"}, "values": [[0, "9"], [5, "12"]]},
        {"metric": {"le": "0.5"}, "values": [[0, "2"]]},
        {"metric": {"le": "10"}, "values": [[0, "7"], [5, "11"]]},
    ]
    (frame,) = of_buckets(series, "A", 5)
    assert list(_columns(frame)) == ["Time", "0.5", "10", "+Inf"]
    assert _columns(frame) == {"Time": [0, 5000], "0.5": [2, 0], "10": [5, 11], "+Inf": [2, 1]}
    assert of_buckets([], "A", 5) == []


def test_exemplars_are_thinned_over_all_of_the_time():
    found = [{"exemplars": [{"timestamp": at, "value": "0.5"} for at in range(100)]}]
    (frame,) = of_exemplars(found, "A", 10)
    assert _columns(frame)["Time"] == [at * 1000 for at in range(0, 100, 10)]


def test_instant_answers_become_one_table_with_a_column_a_label():
    samples = [
        {"metric": {"instance": "a", "worker": "0"}, "value": [7, "1"]},
        {"metric": {"instance": "b"}, "value": [7, "2"]},
    ]
    expected = {"Time": [7000, 7000], "instance": ["a", "b"], "worker": ["0", ""], "Value #B": [1.0, 2.0]}
    (frame,) = of_instant_table(samples, "B", alone=False)
    assert _columns(frame) == expected
    (frame,) = of_instant_table(samples, "B", alone=True)
    assert "Value" in _columns(frame)


def test_clickhouse_columns_get_the_types_that_grafana_gives_them():
    types = {
        "at": "Nullable(DateTime64(3, 'UTC'))",
        "count": "UInt64",
        "share": "Nullable(Float64)",
        "status": "LowCardinality(Nullable(String))",
        "retryable": "Nullable(Bool)",
        "tools": "Array(LowCardinality(String))",
    }
    row = {"at": 5, "count": "12", "share": None, "status": "failed", "retryable": True, "tools": ["a"]}
    answer = {"meta": [{"name": name, "type": kind} for name, kind in types.items()], "data": [row]}
    (frame,) = of_table(answer, "A")
    assert {field["name"]: field["type"] for field in frame["fields"]} == {
        "at": "time",
        "count": "number",
        "share": "number",
        "status": "string",
        "retryable": "boolean",
        "tools": "other",
    }
    assert _columns(frame)["count"] == [12]
    assert _columns(frame)["share"] == [None]


def test_a_long_time_series_becomes_a_column_for_each_text():
    meta = [{"name": "time", "type": "DateTime"}, {"name": "status", "type": "String"}, {"name": "n", "type": "UInt64"}]
    data = [
        {"time": 0, "status": "failed", "n": 1},
        {"time": 0, "status": "completed", "n": 5},
        {"time": 60, "status": "completed", "n": 6},
    ]
    (frame,) = of_wide({"meta": meta, "data": data}, "A")
    assert [(field.get("labels"), field["values"]) for field in frame["fields"]] == [
        (None, [0, 60]),
        ({"status": "completed"}, [5, 6]),
        ({"status": "failed"}, [1, None]),
    ]
