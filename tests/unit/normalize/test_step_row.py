"""Rows: where they say they come from, what the ledger keeps, and that whatever comes the row fits the table."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.normalize.decode import decode
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_row import step_row
from pipeline.records import Reason, Stage, Unstored, ledger_row
from schemas.row import INGEST_COLUMNS
from schemas.vocabulary import ANOMALIES, DIALECTS, ERROR_CATEGORIES
from tests.support.events import completed, step, wire
from tests.support.fakes.kafka import FakeRecord
from tests.support.rows_of_events import NAMES, STATUSES, TIMESTAMP, row_of

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


# The ledger


def test_what_is_not_stored_has_only_the_columns_of_the_ledger() -> None:
    verdict = Unstored(Reason.MISSING_RUN_ID, Stage.NORMALIZE, "run_id: missing", "step_1", "", "thread_1")
    row = dict(zip(NAMES, ledger_row(verdict, FakeRecord("t", 1, 5, -1, None, b""), 4), strict=True))
    set_values = {name: value for name, value in row.items() if value}
    assert set_values == {
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


FITS: Final[dict[str, Callable[[Any], bool]]] = {
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
    misfits = [
        (column, value) for column, value in zip(INGEST_COLUMNS, row, strict=True) if not fits(value, column.type)
    ]
    assert not misfits


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [*STATUSES, "tool_calls", "message_creation", "2025-01-01T00:00:00Z", "\x00", "sk-abcdefghijklmnop1"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "code", "message", "tool_calls", "function", "name", "message_creation", "message_id"]
            )
            | st.sampled_from(["toolCalls", "messageCreation", "prompt_tokens", "completion_tokens_details", "error"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS: Final = [name for name in step() if name not in {"id", "run_id", "object"}] + [
    "metadata",
    "expired_at",
    "surprise",
]


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
    assert (
        named["tool_call_count"] == len(named["tool_types"]) == len(named["tool_names"]) == len(named["tool_call_ids"])
    )
    assert named["step_details"] == "" or json.loads(named["step_details"]) is not None
