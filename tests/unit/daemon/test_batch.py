"""Batches: what a token covers, what a rejected row becomes, what a slice of rows is, what an old assignment leaves."""

from collections.abc import Callable
from typing import Final

import pytest

from pipeline.daemon.batch import Assignment, Batch, Weight
from pipeline.records import (
    EARLIEST_STAMP_MS,
    InvalidRecord,
    Partition,
    Reason,
    Record,
    Stage,
    Unstored,
    ledger_row,
    set_aside,
)
from schemas.row import INDEX, Row
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import normalized, step_row

NOW = 1_790_000_000.0


def record(offset: int, partition: int = 0, timestamp: int = 1_000) -> FakeRecord:
    return FakeRecord("run-steps", partition, offset, timestamp, b"key", b"value")


def fill(batch: Batch, assignment: Assignment, records: list[Record], row: Callable[..., Row] = step_row) -> None:
    rows = [row(r.offset, kafka_partition=r.partition) for r in records]
    batch.part(assignment).extend(normalized(rows, records))


def sealed(*records: Record, now: float = NOW) -> Batch:
    batch = Batch()
    for one in records:
        assignment = (
            batch.parts[key].assignment
            if (key := Partition(one.topic, one.partition)) in batch.parts
            else Assignment(key)
        )
        fill(batch, assignment, [one])
    batch.seal(now)
    return batch


def column(batch: Batch, name: str) -> list[object]:
    return batch.columns(0, batch.rows)[INDEX[name]]


def test_other_bytes_never_have_the_same_token() -> None:
    tokens = [
        sealed(record(0)).token,
        sealed(record(1)).token,
        sealed(record(0), record(1)).token,
        sealed(record(0, partition=1)).token,
        sealed(record(0, timestamp=2_000)).token,
        sealed(record(0), now=NOW + 0.001).token,
    ]
    assert len(set(tokens)) == len(tokens)
    assert sealed(record(0)).token == tokens[0]


def test_a_rejected_row_changes_the_token_since_it_changes_the_bytes() -> None:
    batch = sealed(record(0), record(1))
    before = batch.token
    batch.reject(1, "why")
    assert batch.token != before
    assert column(batch, "outcome") == ["stored", "dead_lettered"]
    assert column(batch, "reason") == ["", "refused_by_sink"]
    assert column(batch, "step_id") == ["step_0", "step_1"]
    assert column(batch, "ingested_at") == [int(NOW * 1000)] * 2
    assert column(batch, "version")[1] == 0


def test_two_rejected_steps_of_one_record_are_one_dead_letter_also_when_others_came_between() -> None:
    assignment = Assignment(Partition("run-steps", 0))
    page, other = record(0), record(1)
    batch = Batch()
    part = batch.part(assignment)
    verdict = Unstored(Reason.MISSING_STEP_ID, Stage.NORMALIZE, "no id")
    dead_letters: list[InvalidRecord] = []
    for rejected in (page, page, other):
        set_aside(dead_letters, rejected, verdict)
    rows = [ledger_row(verdict, page, 0), step_row(0, step_index=1), step_row(0, step_index=2)]
    part.extend(normalized([*rows, ledger_row(verdict, other, 0)], [page, page, page, other], dead_letters))
    batch.seal(NOW)
    batch.reject(1, "why")
    batch.reject(2, "why")
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [0, 1]
    assert column(batch, "outcome") == ["dead_lettered"] * 4
    assert column(batch, "step_index") == [0, 1, 2, 0]


def test_slices_run_over_the_parts_in_their_order() -> None:
    batch = sealed(record(5, partition=1), record(0), record(1), record(6, partition=1))
    everything = batch.columns(0, 4)[INDEX["kafka_offset"]]
    assert everything == [0, 1, 5, 6]
    for start in range(4):
        for stop in range(start + 1, 5):
            assert batch.columns(start, stop)[INDEX["kafka_offset"]] == everything[start:stop]
    batch.reject(2, "why")
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [5]


def test_a_part_knows_its_range_also_over_holes() -> None:
    batch = sealed(record(3), record(9))
    (part,) = batch.parts.values()
    assert (part.first_offset, part.next_offset, part.assignment.next_offset) == (3, 10, 10)


def test_rows_of_an_earlier_assignment_give_way_to_those_of_the_new_one() -> None:
    partition = Partition("run-steps", 0)
    batch = Batch()
    old, new = Assignment(partition), Assignment(partition)
    fill(batch, old, [record(0), record(1)])
    fill(batch, new, [record(0)])
    assert batch.rows == 1
    assert batch.parts[partition].assignment is new


def test_a_batch_whose_partitions_are_gone_has_nothing_to_write() -> None:
    batch = Batch()
    assignment = Assignment(Partition("run-steps", 0))
    fill(batch, assignment, [record(0)])
    batch.drop(assignment.partition)
    batch.seal(NOW)
    assert not batch.parts
    assert batch.oldest_timestamp() == 0


STAMP: Final = 1_764_000_000_000


@pytest.mark.parametrize(
    ("stamps", "oldest"),
    [
        ((STAMP + 3_000, STAMP), STAMP / 1000),
        ((-1, STAMP), STAMP / 1000),
        ((1, STAMP), STAMP / 1000),
        ((-1, -1), 0.0),
        ((EARLIEST_STAMP_MS - 1, 1), 0.0),
    ],
)
def test_the_oldest_timestamp_is_that_of_the_parts_first_records(stamps: tuple[int, int], oldest: float) -> None:
    batch = sealed(record(0, 0, stamps[0]), record(0, 1, stamps[1]))
    assert batch.oldest_timestamp() == oldest


def test_what_is_read_next_is_judged_by_what_was_read_last() -> None:
    weight, batch = Weight(max_rows=10_000, max_bytes=1_000_000), Batch()
    assert weight.room(batch) == 100, "nothing is known yet"
    weight.note(records=100, rows=100, size=1_000)
    weight.note(records=100, rows=100, size=1_000)
    for _ in range(10):
        weight.note(records=100, rows=100, size=1_000)
    assert weight.room(batch) == 10_000
    weight.note(records=2, rows=2_000, size=400_000)
    assert weight.room(batch) == 5, "so many bytes"
    weight.note(records=100, rows=100, size=1_000)
    assert weight.room(batch) == 10, "light again: twice as many"
    batch.part(Assignment(Partition("run-steps", 0))).size = 1_000_000
    assert weight.room(batch) == 1
