"""Rows: types, tokens, metadata, details, and unknown fields."""

import json
from typing import Any, Final

import pytest

from pipeline.normalize.rules import Rules
from tests.support.events import completed, step
from tests.support.rows_of_events import row_of

# Types and statuses


def test_unknown_words_are_kept_and_flagged() -> None:
    row = row_of(step(type="reasoning", status="paused", step_details={"type": "reasoning"}))
    assert (row["type"], row["status"]) == ("reasoning", "paused")
    assert set(row["anomalies"]) == {"unknown_type", "unknown_status"}


@pytest.mark.parametrize(
    ("sent", "details", "kept", "anomalies"),
    [
        ("tool_calls", {"type": "tool_calls"}, "tool_calls", []),
        ("tool_calls", None, "tool_calls", []),
        ("activities", {"type": "activities"}, "activities", []),
        (None, {"type": "tool_calls"}, "tool_calls", ["type_inferred"]),
        ("message_creation", {"type": "tool_calls"}, "message_creation", ["type_mismatch"]),
        ("x", {"type": "tool_calls"}, "x", ["type_mismatch", "unknown_type"]),
        (None, None, "", []),
    ],
)
def test_the_type_is_as_sent_and_only_inferred_where_none_was(
    sent: str | None, details: object, kept: str, anomalies: list[str]
) -> None:
    row = row_of(step(type=sent, step_details=details))
    assert (row["type"], row["anomalies"]) == (kept, anomalies)


@pytest.mark.parametrize("name", ["", "thread.run.step.in_progress"])
@pytest.mark.parametrize("key", ["type", "status"])
def test_a_long_word_is_cut(key: str, name: str) -> None:
    for length, kept in ((128, 128), (129, 128), (5_000, 128)):
        event: dict[str, Any] = {key: "x" * length}
        row = row_of(step(**event), name=name)
        assert row[key] == "x" * kept
        assert ("text_truncated" in row["anomalies"]) is (length > kept)
        assert f"unknown_{key}" in row["anomalies"]
        assert "id_repaired" not in row["anomalies"]


def test_a_long_word_of_the_details_is_cut_like_a_type_that_was_sent() -> None:
    row = row_of(step(type=None, step_details={"type": "x" * 200}))
    assert row["type"] == "x" * 128
    assert {"type_inferred", "text_truncated"} <= set(row["anomalies"])


def test_long_words_of_an_event_with_a_repaired_id_are_cut_and_not_repaired() -> None:
    row = row_of(step(thread_id=5, type="x" * 600, status="y" * 600))
    assert (row["type"], row["status"]) == ("x" * 128, "y" * 128)
    assert {"id_repaired", "text_truncated"} <= set(row["anomalies"])


def test_ids_of_the_second_rank_may_be_missing() -> None:
    row = row_of(step(thread_id=None, assistant_id=None))
    assert (row["thread_id"], row["assistant_id"], row["anomalies"]) == ("", "", [])


# Tokens

TOKENS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def tokens(usage: object) -> tuple[list[int | None], list[str]]:
    row = row_of(step(usage=usage))
    return [row[name] for name in TOKENS], row["anomalies"]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, [None] * 5),
        ({}, [None] * 5),
        ({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, [None] * 5),
        ({"prompt_tokens": 0, "completion_tokens": 16, "total_tokens": 16}, [0, 16, 16, None, None]),
        ({"prompt_tokens": 10**12}, [10**12, None, None, None, None]),
        ({"prompt_tokens": 12.0}, [12, None, None, None, None]),
        ({"promptTokens": 1, "completionTokens": 2, "totalTokens": 3}, [1, 2, 3, None, None]),
        ({"input_tokens": 1, "output_tokens": 2}, [1, 2, None, None, None]),
        ({"prompt_token_details": {"cached_tokens": 4}}, [None, None, None, 4, None]),
        ({"prompt_tokens_details": {"cached_tokens": 4}}, [None, None, None, 4, None]),
        ({"promptTokenDetails": {"cached_tokens": 4}}, [None, None, None, 4, None]),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, [None, None, None, None, 5]),
        ({"completionTokensDetails": {"reasoningTokens": 5}}, [None, None, None, None, 5]),
        ({"prompt_token_details": None, "completion_tokens_details": None}, [None] * 5),
    ],
)
def test_token_counts_are_read_by_all_their_names(usage: object, counts: list[int | None]) -> None:
    assert tokens(usage) == (counts, [])


@pytest.mark.parametrize(
    "count", [2**70, 2**64, 2**64 - 1, 10**12 + 1, 1e13, -1, 1.5, float("nan"), float("inf"), 1e300, "7", True, [], {}]
)
def test_a_count_that_is_none_is_null_and_flagged_and_the_others_stay(count: object) -> None:
    assert tokens({"prompt_tokens": count, "total_tokens": 3}) == (
        [None, None, 3, None, None],
        ["token_count_unreadable"],
    )


def test_usage_that_is_no_object_is_flagged() -> None:
    assert tokens("many") == ([None] * 5, ["token_count_unreadable"])


# Metadata and unknown fields


def test_metadata_is_a_map_of_strings() -> None:
    row = row_of(step(metadata={"a": "x", "n": 1, "f": 1.5, "b": True, "o": {"k": [1, "é"]}, "z": None}))
    assert row["metadata"] == {"a": "x", "n": "1", "f": "1.5", "b": "true", "o": '{"k":[1,"é"]}', "z": "null"}
    assert row["anomalies"] == ["metadata_repaired"]


@pytest.mark.parametrize("metadata", [None, {}, []])
def test_no_metadata_is_an_empty_map(metadata: object) -> None:
    row = row_of(step(metadata=metadata))
    assert (row["metadata"], row["anomalies"]) == ({}, [])


@pytest.mark.parametrize("metadata", ["x", 5, ["x"]])
def test_metadata_that_is_no_map_is_dropped_and_flagged(metadata: object) -> None:
    row = row_of(step(metadata=metadata))
    assert (row["metadata"], row["anomalies"]) == ({}, ["metadata_repaired"])


def test_metadata_is_redacted_and_cut() -> None:
    row = row_of(step(metadata={"mail": "bob@example.org", "long": "x" * 100}), rules=Rules(max_text=64))
    assert row["metadata"] == {"mail": "[redacted:email]", "long": "x" * 64}
    assert row["anomalies"] == ["text_truncated"]


def test_metadata_does_not_fill_its_column_with_any_number_of_keys_and_loses_none() -> None:
    sent = {f"key {number}": number for number in range(1_003)} | {"k" * 256: "kept", "l" * 257: "long"}
    row = row_of(step(metadata=sent, unknown=1))
    kept = dict(list(sent.items())[:1_000])
    assert row["metadata"] == {key: str(value) for key, value in kept.items()}
    rest = {key: value for key, value in sent.items() if key not in kept}
    assert json.loads(row["extra_fields"]) == {"unknown": 1, "metadata": rest}
    assert row["anomalies"] == ["metadata_repaired", "unknown_field"]


def test_a_long_metadata_key_is_kept_beside_the_map_without_secrets() -> None:
    row = row_of(step(metadata={"k" * 256: "short", "bob@example.org " * 17: "bob@example.org"}))
    assert row["metadata"] == {"k" * 256: "short"}
    assert json.loads(row["extra_fields"]) == {"metadata": {"[redacted:email] " * 17: "[redacted:email]"}}
    assert row["anomalies"] == ["metadata_repaired"]


@pytest.mark.parametrize("content", ["full", "structure"])
def test_no_unknown_field_is_searched_or_stored_beyond_what_is_kept(content: str) -> None:
    rules = Rules(content=content, max_text=64)
    fields: dict[str, Any] = {f"{number}" * 40: "bob@example.org" for number in range(100)}
    row = row_of(step(**fields), rules=rules)
    assert (len(row["extra_fields"]), row["anomalies"]) == (64, ["unknown_field", "text_truncated"])
    row = row_of(step(note="x" * (rules.max_text - 20) + " password=" + "hunter2" * 1_000), rules=rules)
    assert "hunter2" not in row["extra_fields"]


UNKNOWN: Final[dict[str, Any]] = {"zeta": {"mail": "bob@example.org"}, "alpha": 1}


@pytest.mark.parametrize(
    ("content", "kept"),
    [("full", {"zeta": {"mail": "[redacted:email]"}, "alpha": 1}), ("structure", ["alpha", "zeta"]), ("none", None)],
)
def test_unknown_fields_are_flagged_and_kept_as_far_as_content_is(content: str, kept: object) -> None:
    row = row_of(step(**UNKNOWN), rules=Rules(content=content))
    assert row["anomalies"] == ["unknown_field"]
    assert (json.loads(row["extra_fields"]) if row["extra_fields"] else None) == kept


def test_what_is_known_leaves_no_extra_fields() -> None:
    row = row_of(completed(metadata={}, expired_at=None))
    assert (row["extra_fields"], row["anomalies"]) == ("", [])


# Details, as far as content is kept

CALLS: Final = {
    "type": "tool_calls",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"private": 1}'}}],
}


@pytest.mark.parametrize("content", ["full", "structure", "none"])
def test_content_never_changes_what_the_columns_say(content: str) -> None:
    row = row_of(step(type="tool_calls", step_details=CALLS), rules=Rules(content=content))
    assert (row["tool_call_count"], row["tool_types"], row["tool_names"], row["tool_call_ids"]) == (
        1,
        ["function"],
        ["f"],
        ["call_1"],
    )
    assert ("private" in row["step_details"]) == (content == "full")
    assert bool(row["step_details"]) == (content != "none")


def test_full_details_are_as_they_were_sent() -> None:
    assert json.loads(row_of(step(type="tool_calls", step_details=CALLS))["step_details"]) == CALLS
