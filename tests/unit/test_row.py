"""Rows: which value goes to which column, what is an anomaly, and which of two states of a step is the current one."""

import json
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.decode import RunStepEvent, Unstored, decode
from pipeline.normalize.row import FUTURE_TOLERANCE_MS, Rules, ledger_row, step_row
from pipeline.records import Reason, Stage
from schemas.row import INGEST_COLUMNS
from schemas.vocabulary import ANOMALIES, DIALECTS, ERROR_CATEGORIES
from tests.fakes.kafka import FakeRecord
from tests.unit.events import CREATED, completed, step, wire

TIMESTAMP: Final = 1_764_000_000_000
CREATED_MS: Final = CREATED * 1000
STATUSES: Final = ("in_progress", "completed", "failed", "cancelled", "expired")
ENDED: Final = STATUSES[1:]
NAMES: Final = tuple(column.name for column in INGEST_COLUMNS)


def row_of(
    event: dict[str, Any], *, name: str = "", offset: int = 7, timestamp: int = TIMESTAMP, rules: Rules | None = None
) -> dict[str, Any]:
    """Return the row of an event as a mapping, through the bytes of the wire."""
    value = wire({"event": name, "data": event} if name else event)
    decoded = decode(value, 1_000_000)
    assert isinstance(decoded, RunStepEvent), decoded
    row = step_row(decoded, FakeRecord("run-steps", 3, offset, timestamp, b"key", value), 2, rules or Rules())
    assert not isinstance(row, Unstored), row
    return dict(zip(NAMES, row, strict=True))


def stamped(status: str, **seconds: int) -> dict[str, Any]:
    """Return a step with its stamps so many seconds after its creation."""
    return step(status=status, **{name: CREATED + after for name, after in seconds.items()})


# Where it came from


def test_names_the_record_and_the_place_of_the_step_in_it() -> None:
    row = row_of(completed(), offset=41)
    place = {name: row[name] for name in NAMES[:8]}
    assert place == {
        "kafka_topic": "run-steps",
        "kafka_partition": 3,
        "kafka_offset": 41,
        "kafka_timestamp": TIMESTAMP,
        "ingested_at": 0,
        "step_index": 2,
        "outcome": "stored",
        "reason": "",
    }


@pytest.mark.parametrize("timestamp", [-1, 0])
def test_a_record_without_a_timestamp_has_none_and_doubts_no_other(timestamp: int) -> None:
    row = row_of(completed(), timestamp=timestamp)
    assert row["kafka_timestamp"] == 0
    assert row["anomalies"] == []


# Which state is the current one


def version(status: str, after_ms: int, offset: int) -> int:
    """Return the version of a state that was reached so many milliseconds after the creation."""
    stamps = {} if status == "in_progress" else {f"{status}_at": CREATED_MS + after_ms}
    created = CREATED_MS + after_ms if status == "in_progress" else CREATED_MS
    number = row_of(step(status=status, created_at=created, **stamps), offset=offset)["version"]
    assert isinstance(number, int)
    return number


STATES = st.tuples(st.sampled_from(STATUSES), st.integers(0, 10_000_000_000), st.integers(0, (1 << 22) - 1))


def rank(state: tuple[str, int, int]) -> tuple[bool, int, int]:
    status, after_ms, offset = state
    return status != "in_progress", after_ms, offset


@settings(deadline=None)
@example(("completed", 0, 0), ("in_progress", 10_000_000_000, (1 << 22) - 1))
@example(("failed", 5, 0), ("completed", 4, (1 << 22) - 1))
@example(("completed", 5, 1), ("completed", 5, 2))
@given(STATES, STATES)
def test_an_end_beats_what_goes_on_then_the_later_time_then_the_higher_offset(
    one: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    difference = version(*one) - version(*other)
    assert (difference > 0, difference < 0) == (rank(one) > rank(other), rank(one) < rank(other))


def test_an_end_without_a_stamp_still_beats_the_creation() -> None:
    assert row_of(step(status="completed"), offset=1)["version"] > row_of(step(), offset=2)["version"]


def test_an_end_with_a_stamp_beats_one_without() -> None:
    assert row_of(completed(), offset=1)["version"] > row_of(step(status="completed"), offset=2)["version"]


@pytest.mark.parametrize("created", [1, "2299-12-31T23:59:59Z"])
def test_a_version_fits_its_column_at_the_ends_of_time(created: object) -> None:
    row = row_of(step(status="completed", created_at=created, completed_at=created), offset=(1 << 63) - 1)
    assert 0 <= row["version"] < 1 << 64


# When it lived


@pytest.mark.parametrize("status", ENDED)
def test_the_status_decides_which_stamp_is_the_end(status: str) -> None:
    stamps = {"completed_at": 11, "failed_at": 12, "cancelled_at": 13, "expired_at": 14}
    row = row_of(stamped(status, **stamps))
    seconds = stamps[f"{status}_at"]
    assert row["ended_at"] == row["occurred_at"] == CREATED_MS + seconds * 1000
    assert row["duration_ms"] == seconds * 1000
    assert {name: row[name] for name in stamps} == {n: CREATED_MS + s * 1000 for n, s in stamps.items()}
    assert row["anomalies"] == []


def test_what_goes_on_has_no_end_and_happens_when_it_was_created() -> None:
    row = row_of(step())
    assert (row["ended_at"], row["duration_ms"], row["occurred_at"]) == (None, None, CREATED_MS)
    assert row["expires_at"] == CREATED_MS + 600_000
    assert row["anomalies"] == []


@pytest.mark.parametrize("status", ENDED)
def test_an_end_that_nobody_knows_is_no_duration(status: str) -> None:
    others = {f"{other}_at": 5 for other in ENDED if other != status}
    row = row_of(stamped(status, **others))
    assert (row["ended_at"], row["duration_ms"], row["occurred_at"]) == (None, None, None)
    assert row["anomalies"] == ["terminal_without_timestamp"]


def test_a_deadline_is_no_end() -> None:
    row = row_of(step(status="expired", expires_at=CREATED + 1))
    assert (row["expired_at"], row["ended_at"]) == (None, None)


def test_an_end_before_the_creation_is_kept_but_is_no_duration() -> None:
    row = row_of(completed(seconds=-1))
    assert (row["ended_at"], row["duration_ms"]) == (CREATED_MS - 1000, None)
    assert row["anomalies"] == ["negative_duration"]


def test_no_time_at_all_is_a_duration() -> None:
    row = row_of(completed(seconds=0))
    assert (row["duration_ms"], row["anomalies"]) == (0, [])


@pytest.mark.parametrize("status", ["in_progress", "queued", None])
def test_a_stamp_of_an_end_on_a_step_that_goes_on_is_doubted(status: str | None) -> None:
    row = row_of(step(status=status, failed_at=CREATED + 3))
    assert (row["failed_at"], row["ended_at"]) == (CREATED_MS + 3000, None)
    assert "stamp_without_terminal_status" in row["anomalies"]


@pytest.mark.parametrize(
    ("created", "reason"),
    [
        (None, Reason.MISSING_CREATED_AT),
        (0, Reason.MISSING_CREATED_AT),
        (-1, Reason.MISSING_CREATED_AT),
        ("", Reason.MISSING_CREATED_AT),
        ("1970-01-01T00:00:00.000Z", Reason.MISSING_CREATED_AT),
        ("soon", Reason.UNREADABLE_CREATED_AT),
        (True, Reason.UNREADABLE_CREATED_AT),
        (2**70, Reason.UNREADABLE_CREATED_AT),
        ({}, Reason.UNREADABLE_CREATED_AT),
    ],
)
def test_a_step_without_a_readable_creation_is_refused_and_never_given_another(created: object, reason: Reason) -> None:
    event = decode(wire(completed(created_at=created)), 1_000_000)
    assert isinstance(event, RunStepEvent)
    verdict = step_row(event, FakeRecord("t", 0, 0, TIMESTAMP, None, b""), 0, Rules())
    assert isinstance(verdict, Unstored)
    assert (verdict.reason, verdict.stage) == (reason, Stage.NORMALIZE)
    assert (verdict.step_id, verdict.run_id, verdict.thread_id) == ("step_1", "run_1", "thread_1")


@pytest.mark.parametrize(
    ("fields", "doubted"),
    [
        ({"created_at": TIMESTAMP + FUTURE_TOLERANCE_MS}, False),
        ({"created_at": TIMESTAMP + FUTURE_TOLERANCE_MS + 1}, True),
        ({"status": "completed", "completed_at": TIMESTAMP + FUTURE_TOLERANCE_MS}, False),
        ({"status": "completed", "completed_at": TIMESTAMP + FUTURE_TOLERANCE_MS + 1}, True),
        ({"expires_at": TIMESTAMP + 10 * FUTURE_TOLERANCE_MS}, False),
    ],
)
def test_a_stamp_more_than_an_hour_after_the_record_is_doubted(fields: dict[str, Any], doubted: bool) -> None:
    assert ("future_timestamp" in row_of(step(**fields))["anomalies"]) is doubted


# What the event's name says


@pytest.mark.parametrize(
    ("name", "status", "kept"),
    [
        *((f"thread.run.step.{ended}", "in_progress", ended) for ended in ENDED),
        ("thread.run.step.completed", None, "completed"),
        ("thread.run.step.failed", "queued", "failed"),
        ("thread.run.step.completed", "failed", "failed"),
        ("thread.run.step.created", "completed", "completed"),
        ("thread.run.step.in_progress", None, ""),
        ("thread.run.step.exploded", "in_progress", "in_progress"),
        ("completed", "in_progress", "in_progress"),
        ("on_run_step_completed", "in_progress", "in_progress"),
    ],
)
def test_an_event_is_ahead_of_the_status_only_towards_an_end(name: str, status: str | None, kept: str) -> None:
    row = row_of(step(status=status), name=name)
    assert row["status"] == kept
    assert ("event_ahead_of_status" in row["anomalies"]) == (kept != (status or ""))


def test_the_stamp_of_an_end_that_only_the_event_tells_is_its_end() -> None:
    row = row_of(step(completed_at=CREATED + 2), name="thread.run.step.completed")
    assert (row["ended_at"], row["duration_ms"]) == (CREATED_MS + 2000, 2000)
    assert row["anomalies"] == ["event_ahead_of_status"]


# Types and statuses


def test_words_that_nobody_knows_are_kept_and_flagged() -> None:
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
        ({"prompt_tokens": 2**64 - 1}, [2**64 - 1, None, None, None, None]),
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


@pytest.mark.parametrize("count", [2**70, 2**64, -1, 1.5, float("nan"), float("inf"), 1e300, "7", True, [], {}])
def test_a_count_that_is_none_is_null_and_flagged_and_the_others_stay(count: object) -> None:
    assert tokens({"prompt_tokens": count, "total_tokens": 3}) == ([None, None, 3, None, None], ["token_count_unreadable"])


def test_usage_that_is_no_object_is_flagged() -> None:
    assert tokens("many") == ([None] * 5, ["token_count_unreadable"])


# Metadata and fields that nobody knows


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


UNKNOWN: Final = {"zeta": {"mail": "bob@example.org"}, "alpha": 1}


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
    assert (row["tool_call_count"], row["tool_types"], row["tool_names"], row["tool_call_ids"]) == (1, ["function"], ["f"], ["call_1"])
    assert ("private" in row["step_details"]) == (content == "full")
    assert bool(row["step_details"]) == (content != "none")


def test_full_details_are_as_they_were_sent() -> None:
    assert json.loads(row_of(step(type="tool_calls", step_details=CALLS))["step_details"]) == CALLS


# The ledger


def test_what_is_not_stored_has_only_the_columns_of_the_ledger() -> None:
    verdict = Unstored(Reason.MISSING_RUN_ID, Stage.NORMALIZE, "run_id: missing", "step_1", "", "thread_1")
    row = dict(zip(NAMES, ledger_row(verdict, FakeRecord("t", 1, 5, -1, None, b""), 4), strict=True))
    told = {name: value for name, value in row.items() if value}
    assert told == {
        "kafka_topic": "t",
        "kafka_partition": 1,
        "kafka_offset": 5,
        "step_index": 4,
        "outcome": "dead_lettered",
        "reason": "missing_run_id",
        "thread_id": "thread_1",
        "step_id": "step_1",
    }
    assert_fits(tuple(row.values()))


def test_without_a_stage_it_is_ignored() -> None:
    row = ledger_row(Unstored(Reason.DELTA), FakeRecord("t", 1, 5, TIMESTAMP, None, b""), 0)
    assert row[NAMES.index("outcome")] == "ignored"


# Whatever comes, the row fits the table


def is_text(value: object) -> bool:
    return isinstance(value, str) and value.encode("utf-8").decode() == value


def is_within(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


FITS: Final = {
    "String": is_text,
    "LowCardinality(String)": is_text,
    "Int32": lambda value: is_within(value, -(2**31), 2**31 - 1),
    "Int64": lambda value: is_within(value, -(2**63), 2**63 - 1),
    "UInt16": lambda value: is_within(value, 0, 2**16 - 1),
    "UInt64": lambda value: is_within(value, 0, 2**64 - 1),
    "Bool": lambda value: isinstance(value, bool),
    "DateTime64(3, 'UTC')": lambda value: is_within(value, 0, 10_413_791_999_999),
}


def fits(value: Any, column_type: str) -> bool:
    outer, _, inner = column_type.removesuffix(")").partition("(")
    if outer == "Nullable":
        return value is None or fits(value, inner)
    if outer == "Array":
        return isinstance(value, list) and all(fits(item, inner) for item in value)
    if outer == "Map":
        return isinstance(value, dict) and all(is_text(text) for item in value.items() for text in item)
    return FITS[column_type](value)


def assert_fits(row: tuple[Any, ...]) -> None:
    misfits = [(column, value) for column, value in zip(INGEST_COLUMNS, row, strict=True) if not fits(value, column.type)]
    assert not misfits


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*STATUSES, "tool_calls", "message_creation", "2025-01-01T00:00:00Z", "\x00", "sk-abcdefghijklmnop1"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "id", "code", "message", "tool_calls", "function", "name", "message_creation", "message_id"])
        | st.sampled_from(["toolCalls", "messageCreation", "prompt_tokens", "completion_tokens_details", "error"])
        | st.text(max_size=5),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)
FIELDS: Final = [name for name in step() if name not in {"id", "run_id", "object"}] + ["metadata", "expired_at", "surprise"]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5),
    st.sampled_from(["", "thread.run.step.completed", "thread.run.step.failed"]),
    st.sampled_from(["full", "structure", "none"]),
    st.sampled_from([-1, 0, TIMESTAMP]),
)
def test_any_step_becomes_a_row_that_fits_or_a_verdict(
    fields: dict[str, Any], name: str, content: str, timestamp: int
) -> None:
    event = step(**fields)
    decoded = decode(wire({"event": name, "data": event} if name else event), 1_000_000)
    if not isinstance(decoded, RunStepEvent):
        return
    row = step_row(decoded, FakeRecord("t", 0, 1, timestamp, None, b""), 0, Rules(content))
    if isinstance(row, Unstored):
        assert row.reason in {Reason.MISSING_CREATED_AT, Reason.UNREADABLE_CREATED_AT}
        return
    assert_fits(row)
    named = dict(zip(NAMES, row, strict=True))
    assert named["dialect"] in DIALECTS
    assert set(named["anomalies"]) <= set(ANOMALIES)
    assert len(named["anomalies"]) == len(set(named["anomalies"]))
    assert named["error_category"] in {"", *ERROR_CATEGORIES}
    assert named["tool_call_count"] == len(named["tool_types"]) == len(named["tool_names"]) == len(named["tool_call_ids"])
    assert named["step_details"] == "" or json.loads(named["step_details"]) is not None
