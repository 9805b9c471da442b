"""When rejections are too many for single records to be at fault."""

import pytest

from pipeline.daemon.batch import Assignment, Part
from pipeline.daemon.rejection_limits import HALVED_AFTER_RECORDS, MIN_RECORDS_FOR_RATIO, RejectionLimits
from pipeline.records import InvalidRecord, Partition, Reason, Stage
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import normalized, step_row


def noted(max_consecutive: int, max_ratio: float, *parts: tuple[int, int, int]) -> RejectionLimits:
    limits = RejectionLimits(max_consecutive, max_ratio)
    for part in parts:
        limits.note(*part)
    return limits


def part_of(records: int, steps: int = 1) -> Part:
    part = Part(Assignment(Partition("run-steps", 0)))
    for offset in range(records):
        record = FakeRecord("run-steps", 0, offset, 1_000, b"k", b"v")
        rows = [step_row(offset, step_index=index) for index in range(steps)]
        part.extend(normalized(rows, [record] * steps))
    return part


def test_rejected_in_a_row_add_up_over_slices_and_end_with_a_good_one() -> None:
    limits = noted(1_000, 1, (500, 500, 500), (500, 500, 500))
    assert limits.in_a_row == 1_000
    assert limits.excess() is None
    limits.note(1, 1, 1)
    assert "1001 records in a row" in (limits.excess() or "")
    limits.note(10, 4, 4)
    assert limits.in_a_row == 4
    limits.note(10, 4, 0)
    assert limits.in_a_row == 0


def test_no_limit_in_a_row() -> None:
    assert noted(0, 1, (10**6, 10**6, 10**6)).excess() is None


def test_the_ratio_counts_from_enough_records_on() -> None:
    assert noted(0, 0.5, (MIN_RECORDS_FOR_RATIO - 1, MIN_RECORDS_FOR_RATIO - 1, 0)).excess() is None
    assert "51% of the latest records" in (
        noted(0, 0.5, (MIN_RECORDS_FOR_RATIO, MIN_RECORDS_FOR_RATIO // 100 * 51, 0)).excess() or ""
    )
    assert noted(0, 0.5, (MIN_RECORDS_FOR_RATIO, MIN_RECORDS_FOR_RATIO // 2, 0)).excess() is None


@pytest.mark.parametrize("slice_", [500, 100_000])
def test_what_was_long_ago_fades(slice_: int) -> None:
    limits = noted(0, 0.5, *[(slice_, 0, 0)] * (100_000 // slice_))
    assert limits.records <= HALVED_AFTER_RECORDS
    for _ in range(HALVED_AFTER_RECORDS // 500):
        limits.note(500, 400, 0)
    assert limits.excess() is not None


def test_rows_rejected_by_the_sink_are_counted_by_their_records_up_to_where_one_has_looked() -> None:
    limits = RejectionLimits()
    assert part_of(10, steps=3).count_rejected(limits, [3, 4, 5, 24, 26], 27) is None
    assert (limits.records, limits.rejected, limits.in_a_row) == (9, 2, 1)
    part_of(1).count_rejected(limits, [0], 1)
    assert limits.in_a_row == 2
    part_of(5, steps=2).count_rejected(limits, [], 10)
    assert (limits.records, limits.rejected, limits.in_a_row) == (15, 3, 0)


def test_rows_rejected_before_are_known_by_their_dead_letters_and_what_never_reached_the_sink_is_left_out() -> None:
    part, limits = part_of(6), RejectionLimits()
    part.reject(1, "why")
    part.dead_letters.append(InvalidRecord(part.records[2], Stage.DECODE, Reason.INVALID_JSON, "why"))
    part.count_rejected(limits, [3], 4)
    assert (limits.records, limits.rejected, limits.in_a_row) == (3, 2, 2)
    part.dead_letters.pop(0)
    part.count_rejected(limits, [], 6)
    assert (limits.records, limits.rejected, limits.in_a_row) == (8, 2, 0)


def test_a_run_in_the_middle_is_seen() -> None:
    assert "3 records in a row" in (part_of(100).count_rejected(RejectionLimits(2), [50, 51, 52], 100) or "")
    assert part_of(100).count_rejected(RejectionLimits(3), [50, 51, 52], 100) is None
