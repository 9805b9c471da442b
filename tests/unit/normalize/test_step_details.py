"""Details: what a step did, in every dialect, and how much of it is kept."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.normalize.rules import Rules
from pipeline.normalize.step_details import read_details

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Lima"}', "output": None},
}


def read(details, content="full"):
    anomalies: list[str] = []
    return read_details(details, Rules(content), anomalies), anomalies


def calls_of(*calls):
    found, anomalies = read({"type": "tool_calls", "tool_calls": list(calls)})
    assert anomalies == []
    return list(zip(found.tool_types, found.tool_names, found.tool_call_ids, strict=True))


def test_a_message_step_has_a_message_id():
    found, anomalies = read({"type": "message_creation", "message_creation": {"message_id": "msg_1"}})
    assert found == (
        "message_creation",
        "msg_1",
        [],
        [],
        [],
        '{"type":"message_creation","message_creation":{"message_id":"msg_1"}}',
        0,
    )
    assert anomalies == []


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (CALL, ("function", "weather", "call_1")),
        (
            {"id": "c", "type": "code_interpreter", "code_interpreter": {"input": "1"}},
            ("code_interpreter",) * 2 + ("c",),
        ),
        ({"id": "c", "type": "mcp", "name": "search", "server_label": "s"}, ("mcp", "search", "c")),
        # openai-python adds a null handler to the tools it does not know
        ({"id": "c", "type": "mcp", "name": "search", "code_interpreter": None}, ("mcp", "search", "c")),
        ({"id": "c", "type": "browser", "browser": {"name": "no"}}, ("browser", "browser", "c")),
        ({"type": "quark_search", "plugin_name": {"arguments": "{}"}}, ("quark_search", "quark_search", "")),
        ({"type": "function", "plugin_name": {"name": "add"}}, ("function", "add", "")),
        ({"type": "function", "id": "c"}, ("function", "function", "c")),
        ({"id": "c", "name": "web_search", "args": "{}"}, ("", "web_search", "c")),
        ({"id": "c", "type": "tool_call", "name": "web_search", "args": {}}, ("tool_call", "web_search", "c")),
        ({"id": "c", "function": {"name": "f"}}, ("", "f", "c")),
        ({"id": 5, "type": ["x"], "name": {}}, ("", "", "")),
        ({}, ("", "", "")),
        (None, ("", "", "")),
        ("call", ("", "", "")),
    ],
)
def test_a_tool_call_has_a_type_a_name_and_an_id(call, expected):
    assert calls_of(call) == [expected]


def test_the_lists_stay_parallel():
    found = calls_of(CALL, None, {"type": "file_search", "id": "c2", "file_search": {}})
    assert found == [("function", "weather", "call_1"), ("", "", ""), ("file_search", "file_search", "c2")]


def test_the_javascript_sdks_are_brought_to_the_form_of_the_wire():
    found, anomalies = read(
        {
            "type": "tool_calls",
            "messageCreation": {},
            "toolCalls": [
                {"type": "code_interpreter", "id": "c1", "codeInterpreter": {"outputs": [{"image": {"fileId": "f"}}]}},
                {
                    "type": "file_search",
                    "id": "c2",
                    "fileSearch": {
                        "rankingOptions": {"ranker": "auto", "scoreThreshold": 0.5},
                        "results": [{"fileId": "f", "fileName": "n", "attributes": {"fileId": "user's own"}}],
                    },
                },
                {"type": "function", "id": "c3", "function": {"name": "f", "arguments": {"threadId": "user's own"}}},
            ],
        }
    )
    assert anomalies == []
    assert (found.tool_names, found.tool_call_ids) == (["code_interpreter", "file_search", "f"], ["c1", "c2", "c3"])
    assert json.loads(found.text) == {
        "type": "tool_calls",
        "tool_calls": [
            {"type": "code_interpreter", "id": "c1", "code_interpreter": {"outputs": [{"image": {"file_id": "f"}}]}},
            {
                "type": "file_search",
                "id": "c2",
                "file_search": {
                    "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
                    "results": [{"file_id": "f", "file_name": "n", "attributes": {"fileId": "user's own"}}],
                },
            },
            {"type": "function", "id": "c3", "function": {"name": "f", "arguments": {"threadId": "user's own"}}},
        ],
    }


@pytest.mark.parametrize("creation", [{"message_id": "msg_1"}, {"messageId": "msg_1"}])
def test_the_empty_twin_of_a_javascript_message_step_is_dropped(creation):
    found, _ = read({"type": "message_creation", "messageCreation": creation, "toolCalls": []})
    assert found.message_id == "msg_1"
    assert found.text == '{"type":"message_creation","message_creation":{"message_id":"msg_1"}}'


def test_the_type_decides_and_not_the_keys():
    both = {"message_creation": {"message_id": "m"}, "tool_calls": [CALL]}
    assert read({"type": "tool_calls", **both})[0].message_id == ""
    assert read({"type": "message_creation", **both})[0].tool_types == []
    assert read({"type": "activities", **both})[0][:5] == ("activities", "", [], [], [])
    assert read({"tool_calls": [CALL]})[0][:5] == ("", "", ["function"], ["weather"], ["call_1"])


def test_structure_keeps_names_and_the_length_of_bodies():
    details = {
        "type": "tool_calls",
        "tool_calls": [
            CALL,
            {"id": "c2", "type": "mcp", "name": "m", "server_label": "s", "arguments": "{}", "output": "secret"},
            {
                "id": "c3",
                "type": "code_interpreter",
                "code_interpreter": {"input": "1+1", "outputs": [{"type": "logs", "logs": "2"}]},
            },
            {"id": "c4", "type": "brand_new", "brand_new": {"prompt": "hello", "count": 3}, "note": ["a", "b"]},
        ],
    }
    found, _ = read(details, "structure")
    assert found.tool_names == ["weather", "m", "code_interpreter", "brand_new"]
    assert json.loads(found.text)["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": {"omitted": "string", "length": 15}, "output": None},
        },
        {
            "id": "c2",
            "type": "mcp",
            "name": "m",
            "server_label": "s",
            "arguments": {"omitted": "string", "length": 2},
            "output": {"omitted": "string", "length": 6},
        },
        {
            "id": "c3",
            "type": "code_interpreter",
            "code_interpreter": {
                "input": {"omitted": "string", "length": 3},
                "outputs": [{"type": "logs", "logs": {"omitted": "string", "length": 1}}],
            },
        },
        {
            "id": "c4",
            "type": "brand_new",
            "brand_new": {"prompt": {"omitted": "string", "length": 5}, "count": {"omitted": "number"}},
            "note": {"omitted": "array", "length": 2},
        },
    ]


def test_none_keeps_no_text_but_all_columns():
    found, _ = read({"type": "tool_calls", "tool_calls": [CALL]}, "none")
    assert found == ("tool_calls", "", ["function"], ["weather"], ["call_1"], "", 1)


def test_text_is_redacted():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"password": "hunter2"}'}}
    assert "hunter2" not in read({"type": "tool_calls", "tool_calls": [call]})[0].text


def test_absent_details_are_no_anomaly():
    assert read(None) == (("", "", [], [], [], "", 0), [])


@pytest.mark.parametrize(("details", "text"), [([1], "[1]"), ("x", '"x"'), (7, "7"), (float("nan"), '"NaN"')])
def test_details_that_are_no_object_are_kept_as_text(details, text):
    assert read(details) == (("", "", [], [], [], text, 0), ["unreadable_details"])


def test_bounds():
    long = {"type": "function", "id": "i" * 300, "function": {"name": "n" * 257}}
    found, anomalies = read({"type": "tool_calls", "tool_calls": [long]})
    assert (len(found.tool_names[0]), len(found.tool_call_ids[0]), anomalies) == (256, 256, ["text_truncated"])


@pytest.mark.parametrize(("sent", "counted"), [(1_000, 1_000), (1_001, 1_001), (70_000, 65_535)])
def test_no_step_fills_the_lists_of_tools_without_bound(sent, counted):
    found, anomalies = read({"type": "tool_calls", "tool_calls": [{"id": "a"}] * sent}, "full")
    assert [len(names) for names in (found.tool_types, found.tool_names, found.tool_call_ids)] == [1_000] * 3
    assert (found.tool_calls, found.text.count('"a"')) == (counted, sent)
    assert anomalies == (["text_truncated"] if sent > 1_000 else [])


@pytest.mark.parametrize(("sent", "kept"), [(7, "7"), ({}, ""), (True, "")])
def test_a_message_id_that_is_no_string_is_flagged(sent, kept):
    found, anomalies = read({"type": "message_creation", "message_creation": {"message_id": sent}})
    assert (found.message_id, anomalies) == (kept, ["id_repaired"])


def test_what_json_has_no_word_for_is_kept_as_text():
    found, _ = read({"type": "x", "big": 2**70, "nan": float("nan"), "lone": "\ud800"})
    assert json.loads(found.text) == {"type": "x", "big": 2**70, "nan": "NaN", "lone": "\ud800"}
    found.text.encode()


keys = st.sampled_from(("type", "tool_calls", "toolCalls", "message_creation", "messageCreation")) | st.sampled_from(
    ("message_id", "id", "function", "name", "mcp", "fileSearch", "text")
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["tool_calls", "message_creation", "function", "mcp", "sk-abcdefghijkl1234"])
)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200)
@given(json_values, st.sampled_from(["full", "structure", "none"]))
def test_no_value_raises_and_the_result_is_well_formed(details, content):
    found, anomalies = read(details, content)
    assert len(found.tool_types) == len(found.tool_names) == len(found.tool_call_ids)
    assert all(type(item) is str for items in found[2:5] for item in items)
    assert found.text == "" or json.loads(found.text) is not NotImplemented
    assert (found.text == "") == (content == "none" or details is None)
    assert len(anomalies) == len(set(anomalies))
