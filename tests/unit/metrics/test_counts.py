"""What a committed part adds to the metrics: once a step, once a record, old ones as backfill, labels bounded."""

from collections import Counter
from typing import Any

import pytest

from pipeline.metrics.counts import CountedSteps, Counts, tally
from schemas.row import Row
from tests.support.fakes.rows import CREATED, columns_of, step_row, unstored_row

DAY_MS = 86_400_000
ACKNOWLEDGED = (CREATED + 7_000) / 1000


def counted(*rows: Row, known: CountedSteps | None = None, backfill_ms: int = DAY_MS) -> Counts:
    return tally(columns_of(rows), CountedSteps(1_000) if known is None else known, ACKNOWLEDGED, backfill_ms)


def failed(offset: int, **changes: Any) -> Row:
    return step_row(offset, **{"status": "failed", "error_category": "rate_limit", **changes})


def test_a_step_counts_once_however_often_it_comes() -> None:
    known = CountedSteps(1_000)
    for _ in range(2):
        counts = counted(step_row(1), step_row(2, step_id="step_1"), known=known)
        assert +counts.records == {("stored", ""): 2}
    assert counts.steps == counts.tokens == counts.tool_calls == {}
    assert not counts.durations
    first = counted(step_row(1), step_row(2, step_id="step_1"))
    assert first.steps == {("tool_calls", "completed"): 1}
    assert first.tokens == {"input": 120, "output": 34}
    assert [(d.seconds, d.step_id) for d in first.durations["tool_calls", "completed"]] == [(4.0, "step_1")]


@pytest.mark.parametrize("field", ["thread_id", "run_id", "step_id"])
def test_steps_are_distinguished_by_all_three_ids(field: str) -> None:
    assert counted(step_row(1), step_row(1, **{field: "another"})).steps == {("tool_calls", "completed"): 2}


def test_what_has_not_ended_or_is_no_step_counts_as_a_record_only() -> None:
    counts = counted(step_row(1, status="in_progress"), unstored_row(2), step_row(3, status="queued"))
    assert counts.steps == {}
    assert +counts.records == {("stored", ""): 2, ("ignored", "tombstone"): 1}


def test_failures_are_counted_by_category_and_cancelled_is_none() -> None:
    counts = counted(failed(1), failed(2, status="expired", error_category="expired"), step_row(3, status="cancelled"))
    assert counts.failures == {("tool_calls", "rate_limit"): 1, ("tool_calls", "expired"): 1}
    assert sum(counts.steps.values()) == 3


@pytest.mark.parametrize(("age", "backfilled"), [(DAY_MS, False), (DAY_MS + 1, True)])
def test_what_ended_too_long_before_it_was_read_is_backfill_only(age: int, *, backfilled: bool) -> None:
    known = CountedSteps(1_000)
    counts = counted(failed(1, ingested_at=CREATED + 4_000 + age), known=known)
    assert bool(counts.backfilled) is backfilled
    assert bool(counts.steps) is bool(counts.failures) is bool(counts.tokens) is not backfilled
    assert +counts.records == {("stored", ""): 1}
    assert not counted(failed(1), known=known).steps


def test_without_its_end_a_step_is_as_old_as_its_creation() -> None:
    row = step_row(1, ended_at=None, duration_ms=None, ingested_at=CREATED + DAY_MS + 1)
    assert counted(row).backfilled == {("tool_calls", "completed"): 1}


def test_unknown_labels_are_other() -> None:
    counts = counted(step_row(1, type="dreaming", tool_types=["function", "crystal_ball"]))
    assert counts.steps == {("other", "completed"): 1}
    assert counts.tool_calls == {"function": 1, "other": 1}


@pytest.mark.parametrize("worst", [0, 1, 2])
def test_a_record_with_several_steps_counts_once_as_its_worst(worst: int) -> None:
    rows = [step_row(7, step_index=index, step_id=f"step_{index}") for index in range(3)]
    rows[worst] = unstored_row(7, step_index=worst, outcome="dead_lettered", reason="missing_step_id")
    counts = counted(step_row(6), *rows, unstored_row(8))
    assert +counts.records == {("stored", ""): 1, ("dead_lettered", "missing_step_id"): 1, ("ignored", "tombstone"): 1}
    assert counts.steps == {("tool_calls", "completed"): 3}
    assert len(counts.delays) == 3


def test_a_record_of_steps_and_frames_is_stored_when_a_step_of_it_is() -> None:
    rows = [unstored_row(7, step_index=0, reason="stream_control"), step_row(7, step_index=1)]
    assert +counted(*rows).records == {("stored", ""): 1}


def test_a_row_that_the_sink_rejected_is_a_dead_letter_and_no_step() -> None:
    counts = counted(unstored_row(1, outcome="dead_lettered", reason="refused_by_sink", step_id="step_1"))
    assert +counts.records == {("dead_lettered", "refused_by_sink"): 1}
    assert counts.steps == {}


def test_delays_need_a_timestamp_and_are_never_negative() -> None:
    counts = counted(
        step_row(1, kafka_timestamp=0),
        step_row(2, kafka_timestamp=CREATED + 6_000),
        step_row(3, kafka_timestamp=CREATED + 60_000),
    )
    assert counts.delays == [pytest.approx(1.0), 0.0]


@pytest.mark.parametrize("stamp", [1, 1_420_070_399_999, CREATED + 3 * DAY_MS])
def test_a_timestamp_that_cannot_be_true_is_no_delay(stamp: int) -> None:
    assert counted(step_row(1, kafka_timestamp=stamp)).delays == []


YEAR_2299 = 10_382_256_000_000


@pytest.mark.parametrize(
    "doubted",
    [
        {"anomalies": ["future_timestamp"]},
        {"ended_at": None, "duration_ms": None, "anomalies": ["unknown_field", "future_timestamp"]},
        *({"ended_at": YEAR_2299, "kafka_timestamp": stamp, "anomalies": []} for stamp in (0, 1, YEAR_2299)),
        {"created_at": YEAR_2299, "ended_at": None, "kafka_timestamp": YEAR_2299},
    ],
)
def test_an_end_that_lies_ahead_is_in_no_step_metric_and_a_true_one_later_is(doubted: dict[str, Any]) -> None:
    known = CountedSteps(1_000)
    counts = counted(failed(1, **doubted), known=known)
    measured = (counts.steps, counts.failures, counts.durations, counts.tokens, counts.tool_calls, counts.backfilled)
    assert not any(measured)
    assert +counts.records == {("stored", ""): 1}
    assert counts.anomalies == Counter(doubted.get("anomalies", ["type_inferred"]))
    assert counted(step_row(2, step_id="step_1"), known=known).steps == {("tool_calls", "completed"): 1}


@pytest.mark.parametrize("stamp", [0, CREATED])
def test_a_clock_a_little_behind_doubts_no_step(stamp: int) -> None:
    row = step_row(1, kafka_timestamp=stamp, ingested_at=CREATED + 4_000 - 3_600_000)
    assert counted(row).steps == {("tool_calls", "completed"): 1}


def test_the_oldest_counted_step_is_forgotten_first() -> None:
    known = CountedSteps(3, [("t", "r", f"step_{number}") for number in range(3)])
    assert known.first_time(("t", "r", "step_3"))
    assert len(known) == 3
    assert not known.first_time(("t", "r", "step_1"))
    assert known.first_time(("t", "r", "step_0"))
