"""How a batch passes when it does not pass whole: smaller inserts, guilty rows, broken tables, unknown failures."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.batch import Batch, Lease
from pipeline.contracts import Columns
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.insertion import GROWS_AFTER, HOPELESS_REFUSALS, Insertion, Unexplained
from pipeline.records import Partition
from schemas.row import INDEX
from tests.fakes.kafka import FakeRecord
from tests.fakes.rows import step_row
from tests.fakes.sink import FakeSink

TOPIC = "run-steps"


class Rig:
    """An insertion into a fake sink; partitions in `cursed` fail for an unknown reason."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.cursed: set[int] = set()
        self.insertion = Insertion(self.persist)
        self.next = 0

    def persist(self, columns: Columns, token: str) -> None:
        if self.cursed.intersection(columns[INDEX["kafka_partition"]]):
            raise Unexplained("ClickHouse error 4711 (NOBODY_KNOWS)")
        self.sink.insert(columns, token)

    def persist_unless(self, broken: range, columns: Columns, token: str) -> None:
        """Insert, but refuse the inserts of those numbers."""
        if len(self.sink.attempts) in broken:
            self.sink.attempts.append((token, len(columns[0])))
            raise SinkRefused("the table has no such column", ErrorClass.SCHEMA, 16)
        self.sink.insert(columns, token)

    def batch(self, rows: int, partitions: int = 1) -> Batch:
        batch = Batch()
        offsets = range(self.next, self.next + rows)
        for number in range(partitions):
            records = [FakeRecord(TOPIC, number, offset, 1_000, b"k", b"v") for offset in offsets]
            steps = [step_row(offset, kafka_partition=number, step_id=f"s{number}-{offset}") for offset in offsets]
            batch.part(Lease(Partition(TOPIC, number))).extend(steps, records)
        batch.seal(1_790_000_000.0 + self.next)
        self.next += rows
        return batch

    def sizes(self) -> list[int]:
        sizes = [rows for _, rows in self.sink.attempts]
        self.sink.attempts.clear()
        return sizes


@pytest.fixture
def rig() -> Rig:
    return Rig()


def refusing(*offsets: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["kafka_offset"] in offsets


def test_a_sink_short_of_memory_gets_smaller_inserts_at_once_and_larger_ones_later(rig: Rig) -> None:
    rig.sink.most_rows = 30
    rig.insertion.run(rig.batch(100))
    assert rig.sizes() == [100, 50, 25, 25, 25, 25]
    rig.insertion.run(rig.batch(100))
    assert rig.sizes() == [25] * 4
    rig.sink.most_rows = 1_000
    tried: list[int] = []
    for _ in range(2 * GROWS_AFTER):
        rig.insertion.run(rig.batch(100))
        tried += rig.sizes()
    assert tried[-1] == 100
    assert tried == sorted(tried), "the size was to grow step by step"
    assert len(rig.sink.ledger()) == rig.next


def test_the_size_is_not_limited_before_anything_was_too_large(rig: Rig) -> None:
    rig.insertion.run(rig.batch(500))
    assert rig.insertion.appetite.most == math.inf


def test_a_piece_sent_again_has_the_same_token(rig: Rig) -> None:
    rig.sink.most_rows = 30
    batch = rig.batch(100)
    rig.insertion.run(batch)
    first = {token for token, rows in rig.sink.attempts if rows <= 30}
    rig.insertion.run(batch)
    assert {token for token, rows in rig.sink.attempts if rows <= 30} == first
    assert rig.sink.physical_rows() == (100, 100)


def test_a_lone_bad_row_is_told_from_a_broken_table_by_a_row_that_passed_before(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sink.refuse = refusing(5)
    batch = rig.batch(1)
    rig.insertion.run(batch)
    assert [letter.record.offset for letter in batch.letters()] == [5]
    assert len(rig.sink.rows_current()) == 5

    rig.sink.refuse = lambda _row: True
    broken = rig.batch(1)
    with pytest.raises(SinkUnavailable, match="no row passes") as raised:
        rig.insertion.run(broken)
    assert raised.value.error_class is ErrorClass.ENVIRONMENT
    assert not broken.letters()
    rig.sink.refuse = lambda _row: False
    rig.insertion.run(broken)
    assert not broken.letters()
    assert len(rig.sink.rows_current()) == 6


def test_the_proof_leaves_no_trace(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5))
    before = rig.sink.rows_current(), rig.sink.ledger()
    rig.sink.refuse = refusing(5)
    rig.insertion.run(rig.batch(1))
    rows, ledger = rig.sink.rows_current(), rig.sink.ledger()
    assert rows == before[0]
    assert {key: row for key, row in ledger.items() if row["kafka_offset"] < 5} == before[1]


def test_many_bad_rows_in_a_row_are_still_the_rows_fault_when_another_passes(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sink.refuse = lambda row: row["kafka_offset"] >= 5
    bad = rig.batch(3 * HOPELESS_REFUSALS)
    rig.insertion.run(bad)
    assert len(bad.letters()) == 3 * HOPELESS_REFUSALS


@pytest.mark.parametrize("rows", [1, 3, 3 * HOPELESS_REFUSALS])
def test_before_anything_has_passed_a_refusal_proves_nothing(rig: Rig, rows: int) -> None:
    rig.sink.refuse = lambda _row: True
    batch = rig.batch(rows)
    with pytest.raises(SinkUnavailable, match="none has passed since the start") as raised:
        rig.insertion.run(batch)
    assert raised.value.error_class is ErrorClass.UNKNOWN
    assert not batch.letters()
    assert len(rig.sizes()) < 3 * HOPELESS_REFUSALS


def test_the_first_rows_ever_are_told_apart_by_the_first_that_passes(rig: Rig) -> None:
    rig.sink.refuse = refusing(*range(HOPELESS_REFUSALS - 1))
    batch = rig.batch(HOPELESS_REFUSALS)
    rig.insertion.run(batch)
    assert len(batch.letters()) == HOPELESS_REFUSALS - 1
    assert len(rig.sink.rows_current()) == 1


@pytest.mark.parametrize("first", range(40))
@pytest.mark.parametrize("inserts", [1, 2, 5, 9, 40])
def test_a_table_that_is_broken_for_some_inserts_makes_no_row_guilty(rig: Rig, first: int, inserts: int) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sink.refuse = refusing(5, 12)
    batch = rig.batch(16)
    rig.sizes()
    broken = range(first, first + inserts)
    rig.insertion = Insertion(lambda *insert: rig.persist_unless(broken, *insert))
    for _ in range(30):
        try:
            rig.insertion.run(batch)
        except SinkUnavailable:
            continue
        break
    assert [letter.record.offset for letter in batch.letters()] == [5, 12]
    assert len(rig.sink.rows_current()) == 19


@pytest.mark.parametrize("guilty", [0, 1, 2, 511, 512, 777, 1022, 1023])
def test_one_guilty_row_costs_few_inserts(rig: Rig, guilty: int) -> None:
    rig.sink.refuse = refusing(guilty)
    batch = rig.batch(1024)
    rig.insertion.run(batch)
    assert [letter.record.offset for letter in batch.letters()] == [guilty]
    whole, again, account = 1, 1, 1
    assert len(rig.sizes()) <= whole + 2 * math.log2(1024) + again + account


def test_a_table_that_refuses_every_row_is_known_after_a_few_inserts(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sizes()
    rig.sink.refuse = lambda _row: True
    with pytest.raises(SinkUnavailable, match="no row passes"):
        rig.insertion.run(rig.batch(50_000))
    assert len(rig.sizes()) < 30


def test_the_partition_that_fails_for_an_unknown_reason_is_given_up_and_the_others_pass(rig: Rig) -> None:
    rig.cursed = {1}
    batch = rig.batch(10, partitions=3)
    rig.insertion.run(batch)
    ((part, cause),) = batch.given_up
    assert (part.lease.partition.number, cause) == (1, "ClickHouse error 4711 (NOBODY_KNOWS)")
    assert sorted(partition.number for partition in batch.parts) == [0, 2]
    assert {row["kafka_partition"] for row in rig.sink.ledger().values()} == {0, 2}
    assert len(rig.sink.ledger()) == 20


def test_a_refused_row_is_still_found_beside_a_partition_that_is_given_up(rig: Rig) -> None:
    rig.cursed = {0}
    rig.sink.refuse = lambda row: row["step_id"] == "s2-7"
    batch = rig.batch(10, partitions=3)
    rig.insertion.run(batch)
    assert [(letter.record.partition, letter.record.offset) for letter in batch.letters()] == [(2, 7)]
    assert [part.lease.partition.number for part, _ in batch.given_up] == [0]
    assert len(rig.sink.ledger()) == 20


@pytest.mark.parametrize("most", [0])
def test_a_single_row_that_is_too_much_is_the_environments_fault(rig: Rig, most: int) -> None:
    rig.sink.most_rows = most
    with pytest.raises(SinkUnavailable, match="no row passes"):
        rig.insertion.run(rig.batch(4))


def test_a_refused_account_is_the_environments_fault(rig: Rig) -> None:
    rig.insertion.run(rig.batch(2))
    rig.sink.refuse = refusing(2)
    original = rig.sink.insert

    def insert(columns: Columns, token: str) -> None:
        if "refused_by_sink" in columns[INDEX["reason"]]:
            raise SinkRefused("the ledger refuses", ErrorClass.SCHEMA, 469)
        original(columns, token)

    rig.sink.insert = insert  # type: ignore[method-assign]
    with pytest.raises(SinkUnavailable, match="no row passes"):
        rig.insertion.run(rig.batch(4))
