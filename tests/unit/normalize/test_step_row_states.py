"""Rows: which of two states of a step is the current one, when a step lived, and what an event's name adds."""

from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.normalize.decode import decode
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_row import step_row
from pipeline.records import EARLIEST_STAMP_MS, FUTURE_TOLERANCE_MS, Reason, Stage, Unstored
from tests.support.events import CREATED, completed, step, wire
from tests.support.fakes.kafka import FakeRecord
from tests.support.rows_of_events import CREATED_MS, ENDED, STATUSES, TIMESTAMP, row_of


def stamped(status: str, **seconds: int) -> dict[str, Any]:
    """Return a step with its stamps so many seconds after its creation."""
    return step(status=status, **{name: CREATED + after for name, after in seconds.items()})


# Which state is the current one


MOST_MS: Final = 10_000_000_000


def version(status: str, after_ms: int, offset: int) -> int:
    """Return the version of a state that was reached so many milliseconds after the creation."""
    stamps = {} if status == "in_progress" else {f"{status}_at": CREATED_MS + after_ms}
    created = CREATED_MS + after_ms if status == "in_progress" else CREATED_MS
    event = step(status=status, created_at=created, **stamps)
    number = row_of(event, offset=offset, timestamp=CREATED_MS + MOST_MS)["version"]
    assert isinstance(number, int)
    return number


STATES = st.tuples(st.sampled_from(STATUSES), st.integers(0, MOST_MS), st.integers(0, (1 << 22) - 1))


def rank(state: tuple[str, int, int]) -> tuple[bool, int, int]:
    status, after_ms, offset = state
    return status != "in_progress", after_ms, offset


@settings(deadline=None)
@example(("completed", 0, 0), ("in_progress", MOST_MS, (1 << 22) - 1))
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


FORGED: Final = "2299-12-31T00:00:00Z"


@pytest.mark.parametrize(
    "forged", [{"created_at": FORGED}, {"failed_at": FORGED}, {"created_at": FORGED, "failed_at": 1}]
)
def test_an_end_in_the_far_future_does_not_win_for_ever(forged: dict[str, Any]) -> None:
    first = row_of(step(**{"status": "failed", "failed_at": CREATED + 2, **forged}), offset=1)
    later = row_of(completed(seconds=(TIMESTAMP - CREATED_MS) // 1000 + 1), offset=2, timestamp=TIMESTAMP + 2_000)
    assert later["anomalies"] == []
    assert first["version"] < later["version"]
    assert first["version"] > row_of(step(), offset=3, timestamp=TIMESTAMP + 3_000)["version"]


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
def test_an_unknown_end_is_no_duration(status: str) -> None:
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
def test_a_step_without_a_readable_creation_is_rejected_and_never_given_another(
    created: object, reason: Reason
) -> None:
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


@pytest.mark.parametrize("status", ENDED)
def test_an_end_that_lies_ahead_is_kept_as_sent_but_is_neither_end_nor_duration(status: str) -> None:
    end: dict[str, Any] = {f"{status}_at": "2299-01-01T00:00:00Z"}
    row = row_of(step(status=status, **end))
    assert row[f"{status}_at"] == row["occurred_at"] == 10_382_256_000_000
    assert (row["ended_at"], row["duration_ms"]) == (None, None)
    assert row["anomalies"] == ["future_timestamp"]


@pytest.mark.parametrize("timestamp", [-1, 0, 1, EARLIEST_STAMP_MS - 1])
def test_a_record_whose_own_timestamp_cannot_be_true_casts_no_doubt(timestamp: int) -> None:
    row = row_of(completed(seconds=5), timestamp=timestamp)
    assert (row["duration_ms"], row["anomalies"]) == (5_000, [])
    assert row["version"] == row_of(completed(seconds=5))["version"]


@pytest.mark.parametrize("timestamp", [-1, 0, 1, 10_413_705_600_000])
@pytest.mark.parametrize("forged", [{}, {"created_at": "2299-12-31T00:00:00Z"}])
def test_an_end_in_the_far_future_does_not_win_by_a_timestamp_that_cannot_be_true(
    timestamp: int, forged: dict[str, Any]
) -> None:
    rules = Rules().at(TIMESTAMP + 60_000)
    first = step(status="failed", failed_at="2299-12-31T23:59:59Z", **forged)
    row = row_of(first, offset=1, timestamp=timestamp, rules=rules)
    assert (row["ended_at"], row["duration_ms"]) == (None, None)
    assert "future_timestamp" in row["anomalies"]
    later = row_of(completed(seconds=90_000), offset=2, timestamp=TIMESTAMP + 86_400_000, rules=rules)
    assert row["version"] < later["version"]
    if not forged:
        assert row["version"] < row_of(completed(seconds=5), offset=2, timestamp=timestamp, rules=rules)["version"]


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
