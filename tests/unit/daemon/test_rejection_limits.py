"""When refusals are too many to be the records' fault."""

import pytest

from pipeline.daemon.batch import Assignment, Part
from pipeline.daemon.bearing import take_in
from pipeline.daemon.rejection_limits import FEWEST, WINDOW, Refusals
from pipeline.records import InvalidRecord, Partition, Reason, Stage
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import step_row


def noted(max_consecutive: int, max_ratio: float, *parts: tuple[int, int, int]) -> Refusals:
    refusals = Refusals(max_consecutive, max_ratio)
    for part in parts:
        refusals.note(*part)
    return refusals


def part_of(records: int, steps: int = 1) -> Part:
    part = Part(Assignment(Partition("run-steps", 0)))
    for offset in range(records):
        record = FakeRecord("run-steps", 0, offset, 1_000, b"k", b"v")
        part.extend([step_row(offset, step_index=index) for index in range(steps)], [record] * steps)
    return part


def test_refused_in_a_row_add_up_over_slices_and_end_with_a_good_one() -> None:
    refusals = noted(1_000, 1, (500, 500, 500), (500, 500, 500))
    assert refusals.in_a_row == 1_000
    assert refusals.excess() is None
    refusals.note(1, 1, 1)
    assert "1001 records in a row" in (refusals.excess() or "")
    refusals.note(10, 4, 4)
    assert refusals.in_a_row == 4
    refusals.note(10, 4, 0)
    assert refusals.in_a_row == 0


def test_no_limit_in_a_row() -> None:
    assert noted(0, 1, (10**6, 10**6, 10**6)).excess() is None


def test_the_share_counts_from_enough_records_on() -> None:
    assert noted(0, 0.5, (FEWEST - 1, FEWEST - 1, 0)).excess() is None
    assert "51% of the latest records" in (noted(0, 0.5, (FEWEST, FEWEST // 100 * 51, 0)).excess() or "")
    assert noted(0, 0.5, (FEWEST, FEWEST // 2, 0)).excess() is None


@pytest.mark.parametrize("slice_", [500, 100_000])
def test_what_was_long_ago_fades(slice_: int) -> None:
    refusals = noted(0, 0.5, *[(slice_, 0, 0)] * (100_000 // slice_))
    assert refusals.records <= WINDOW
    for _ in range(WINDOW // 500):
        refusals.note(500, 400, 0)
    assert refusals.excess() is not None


def test_rows_refused_by_the_sink_are_counted_by_their_records_up_to_where_one_has_looked() -> None:
    refusals = Refusals()
    assert take_in(refusals, part_of(10, steps=3), [3, 4, 5, 24, 26], 27) is None
    assert (refusals.records, refusals.refused, refusals.in_a_row) == (9, 2, 1)
    take_in(refusals, part_of(1), [0], 1)
    assert refusals.in_a_row == 2
    take_in(refusals, part_of(5, steps=2), [], 10)
    assert (refusals.records, refusals.refused, refusals.in_a_row) == (15, 3, 0)


def test_rows_refused_before_are_known_by_their_dead_letters_and_what_never_reached_the_sink_is_left_out() -> None:
    part, refusals = part_of(6), Refusals()
    part.refuse(1, "why")
    part.dead_letters.append(InvalidRecord(part.records[2], Stage.DECODE, Reason.INVALID_JSON, "why"))
    take_in(refusals, part, [3], 4)
    assert (refusals.records, refusals.refused, refusals.in_a_row) == (3, 2, 2)
    part.dead_letters.pop(0)
    take_in(refusals, part, [], 6)
    assert (refusals.records, refusals.refused, refusals.in_a_row) == (8, 2, 0)


def test_a_run_in_the_middle_is_seen() -> None:
    assert "3 records in a row" in (take_in(Refusals(2), part_of(100), [50, 51, 52], 100) or "")
    assert take_in(Refusals(3), part_of(100), [50, 51, 52], 100) is None
