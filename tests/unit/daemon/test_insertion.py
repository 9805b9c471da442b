"""How a batch passes when it does not pass whole: smaller inserts, rejected rows, broken tables, other failures."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.contracts import Columns
from pipeline.daemon.attempts import Unclassified
from pipeline.daemon.batch import Assignment
from pipeline.daemon.insert_memory import AMBIGUOUS_ATTEMPTS, GROWS_AFTER
from pipeline.daemon.insertion import REJECTIONS_BEFORE_ANY_PASSED, REJECTIONS_BEFORE_REVIEW, Insertion
from pipeline.daemon.rejection_limits import RejectionLimits
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Partition
from schemas.row import INDEX
from tests.support.insertion_rig import TOPIC, BrokenFor, Rig


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


def test_what_the_way_cannot_carry_goes_in_smaller_inserts_with_tokens_of_their_own(rig: Rig) -> None:
    rig.carried = 30
    rig.insertion.run(rig.batch(100))
    tokens = [token for token, _ in rig.sink.attempts]
    assert len(set(tokens)) == len(tokens)
    assert rig.sizes() == [100, 50, 25, 25, 25, 25]
    assert (len(rig.sink.ledger()), rig.insertion.size.cause) == (100, "the connection broke")
    assert rig.ambiguous_attempts == [(100, AMBIGUOUS_ATTEMPTS), (50, 0)], "in doubt about the first size only"


def test_a_size_that_fails_again_is_tried_again_ever_more_rarely(rig: Rig) -> None:
    """Where the way cannot carry it, each try costs a time-out."""
    rig.carried = 30
    rig.insertion.run(rig.batch(100))
    rig.ambiguous_attempts.clear()
    for _ in range(200):
        rig.insertion.run(rig.batch(100))
    assert len(rig.ambiguous_attempts) < math.log2(200 * 4 / GROWS_AFTER)
    assert {ambiguous_attempts for _, ambiguous_attempts in rig.ambiguous_attempts} == {0}


def test_the_limit_is_lifted_once_the_size_that_was_too_large_passes(rig: Rig) -> None:
    rig.carried = 30
    rig.insertion.run(rig.batch(100))
    rig.carried = math.inf
    for _ in range(2 * GROWS_AFTER):
        rig.insertion.run(rig.batch(100))
    assert (rig.insertion.size.max_rows, rig.insertion.size.cause) == (math.inf, None)
    rig.insertion.run(rig.batch(500))
    assert rig.sizes()[-1] == 500


def test_a_limit_that_falls_below_what_passed_is_found_anew(rig: Rig) -> None:
    rig.carried = 30
    rig.insertion.run(rig.batch(100))
    rig.carried = 10
    rig.ambiguous_attempts.clear()
    rig.insertion.run(rig.batch(100))
    assert len(rig.sink.ledger()) == rig.next
    assert rig.ambiguous_attempts[:2] == [(25, AMBIGUOUS_ATTEMPTS), (12, 0)]
    assert {ambiguous_attempts for _, ambiguous_attempts in rig.ambiguous_attempts[2:]} <= {0}


def test_a_single_row_is_never_taken_for_too_large(rig: Rig) -> None:
    assert rig.insertion.size.ambiguous_attempts(1) == math.inf
    rig.carried = 0.5
    with pytest.raises(SinkUnavailable):
        rig.insertion.run(rig.batch(4))
    assert (1, math.inf) in rig.ambiguous_attempts


def test_the_size_is_not_limited_before_anything_was_too_large(rig: Rig) -> None:
    rig.insertion.run(rig.batch(500))
    assert rig.insertion.size.max_rows == math.inf


def test_a_piece_sent_again_has_the_same_token(rig: Rig) -> None:
    rig.sink.most_rows = 30
    batch = rig.batch(100)
    rig.insertion.run(batch)
    first = {token for token, rows in rig.sink.attempts if rows <= 30}
    rig.insertion.run(batch)
    assert {token for token, rows in rig.sink.attempts if rows <= 30} == first
    assert rig.sink.physical_rows() == (100, 100)


def test_a_lone_bad_row_is_distinguished_from_a_broken_table_by_a_row_that_passed_before(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sink.refuse = refusing(5)
    batch = rig.batch(1)
    rig.insertion.run(batch)
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [5]
    assert len(rig.sink.rows_current()) == 5

    rig.sink.refuse = lambda _row: True
    broken = rig.batch(1)
    with pytest.raises(SinkUnavailable, match="no row passes") as raised:
        rig.insertion.run(broken)
    assert raised.value.error_class is ErrorClass.ENVIRONMENT
    assert not broken.dead_letters()
    rig.sink.refuse = lambda _row: False
    rig.insertion.run(broken)
    assert not broken.dead_letters()
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
    bad = rig.batch(3 * REJECTIONS_BEFORE_ANY_PASSED)
    rig.insertion.run(bad)
    assert len(bad.dead_letters()) == 3 * REJECTIONS_BEFORE_ANY_PASSED


@pytest.mark.parametrize("rows", [1, 3, 3 * REJECTIONS_BEFORE_ANY_PASSED])
def test_before_anything_has_passed_a_rejection_proves_nothing(rig: Rig, rows: int) -> None:
    rig.sink.refuse = lambda _row: True
    batch = rig.batch(rows)
    with pytest.raises(SinkUnavailable, match="none has passed since the start") as raised:
        rig.insertion.run(batch)
    assert raised.value.error_class is ErrorClass.UNKNOWN
    assert not batch.dead_letters()
    assert len(rig.sizes()) < 3 * REJECTIONS_BEFORE_ANY_PASSED


def test_the_first_rows_ever_are_distinguished_by_the_first_that_passes(rig: Rig) -> None:
    rig.sink.refuse = refusing(*range(REJECTIONS_BEFORE_ANY_PASSED - 1))
    batch = rig.batch(REJECTIONS_BEFORE_ANY_PASSED)
    rig.insertion.run(batch)
    assert len(batch.dead_letters()) == REJECTIONS_BEFORE_ANY_PASSED - 1
    assert len(rig.sink.rows_current()) == 1


@pytest.mark.parametrize("first", range(40))
@pytest.mark.parametrize("inserts", [1, 2, 5, 9, 40])
def test_a_table_that_is_broken_for_some_inserts_rejects_no_row(rig: Rig, first: int, inserts: int) -> None:
    rig.insertion.run(rig.batch(5))
    rig.sink.refuse = refusing(5, 12)
    batch = rig.batch(16)
    rig.sizes()
    rig.insertion = Insertion(BrokenFor(rig, range(first, first + inserts)))
    for _ in range(30):
        try:
            rig.insertion.run(batch)
        except SinkUnavailable:
            continue
        break
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [5, 12]
    assert len(rig.sink.rows_current()) == 19


@pytest.mark.parametrize("at_fault", [0, 1, 2, 511, 512, 777, 1022, 1023])
def test_one_rejected_row_costs_few_inserts(rig: Rig, at_fault: int) -> None:
    rig.sink.refuse = refusing(at_fault)
    batch = rig.batch(1024)
    rig.insertion.run(batch)
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [at_fault]
    whole, again, account = 1, 1, 1
    assert len(rig.sizes()) <= whole + 2 * math.log2(1024) + again + account


def test_a_table_that_rejects_every_row_is_known_after_a_few_inserts(rig: Rig) -> None:
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
    assert (part.assignment.partition.number, cause) == (1, "ClickHouse error 4711 (NOBODY_KNOWS)")
    assert sorted(partition.number for partition in batch.parts) == [0, 2]
    assert {row["kafka_partition"] for row in rig.sink.ledger().values()} == {0, 2}
    assert len(rig.sink.ledger()) == 20


def test_a_rejected_row_is_still_found_beside_a_partition_that_is_given_up(rig: Rig) -> None:
    rig.cursed = {0}
    rig.sink.refuse = lambda row: row["step_id"] == "s2-7"
    batch = rig.batch(10, partitions=3)
    rig.insertion.run(batch)
    assert [(dead_letter.record.partition, dead_letter.record.offset) for dead_letter in batch.dead_letters()] == [
        (2, 7)
    ]
    assert [part.assignment.partition.number for part, _ in batch.given_up] == [0]
    assert len(rig.sink.ledger()) == 20


@pytest.mark.parametrize("most", [0])
def test_a_single_row_that_is_too_much_is_the_environments_fault(rig: Rig, most: int) -> None:
    rig.sink.most_rows = most
    with pytest.raises(SinkUnavailable, match="no row passes"):
        rig.insertion.run(rig.batch(4))


def test_a_rejected_account_is_the_environments_fault(rig: Rig) -> None:
    rig.insertion.run(rig.batch(2))
    rig.sink.refuse = refusing(2)
    original = rig.sink.insert

    def insert(columns: Columns, token: str) -> None:
        if "refused_by_sink" in columns[INDEX["reason"]]:
            raise SinkRefused("the ledger rejects", ErrorClass.SCHEMA, 469)
        original(columns, token)

    rig.sink.insert = insert  # type: ignore[method-assign]
    with pytest.raises(SinkUnavailable, match="no row passes"):
        rig.insertion.run(rig.batch(4))


def test_a_partition_that_was_given_up_comes_last_and_by_itself_until_it_passes(rig: Rig) -> None:
    rig.cursed = {0}
    rig.insertion.run(rig.batch(10, partitions=3))
    for _ in range(2):
        rig.tries.clear()
        batch = rig.batch(10, partitions=3)
        rig.insertion.run(batch)
        assert rig.tries == [({1}, False), ({2}, False), ({0}, True)]
        assert [part.assignment.partition.number for part, _ in batch.given_up] == [0]
    rig.cursed = set()
    for tries in ([({1}, False), ({2}, False), ({0}, True)], [({0, 1, 2}, False)]):
        rig.tries.clear()
        batch = rig.batch(10, partitions=3)
        rig.insertion.run(batch)
        assert rig.tries == tries
        assert not batch.given_up


def test_a_partition_that_is_given_up_is_not_tried_piece_by_piece(rig: Rig) -> None:
    rig.sink.most_rows = 10
    rig.insertion.run(rig.batch(100))
    rig.cursed = {0}
    rig.tries.clear()
    rig.insertion.run(rig.batch(100))
    assert len(rig.tries) == 1


def test_an_account_that_fails_for_an_unknown_reason_gives_up_its_partition_only(rig: Rig) -> None:
    rig.insertion.run(rig.batch(5, partitions=2))
    rig.sink.refuse = lambda row: (row["kafka_partition"], row["kafka_offset"]) == (1, 7)
    original = rig.sink.insert

    def insert(columns: Columns, token: str) -> None:
        if "refused_by_sink" in columns[INDEX["reason"]]:
            raise Unclassified("ClickHouse error 4711")
        original(columns, token)

    rig.sink.insert = insert  # type: ignore[method-assign]
    batch = rig.batch(5, partitions=2)
    rig.insertion.run(batch)
    assert [part.assignment.partition.number for part, _ in batch.given_up] == [1]
    assert not batch.dead_letters()


def test_a_flood_of_rejected_rows_gives_its_partition_up_soon_and_leaves_no_trace_in_the_account(rig: Rig) -> None:
    rig.assignments = {
        number: Assignment(Partition(TOPIC, number), sink_limits=RejectionLimits(1_000, 0.5)) for number in (0, 1)
    }
    rig.sink.refuse = lambda row: row["kafka_partition"] == 0 and row["kafka_offset"] % 10 > 0
    inserts: list[int] = []
    for _ in range(2):
        batch = rig.batch(1_500, partitions=2)
        rig.insertion.run(batch)
        ((part, cause),) = batch.given_up
        assert part.assignment.partition.number == 0
        assert "dead_letter.max_ratio (now 0.5; 1 is no limit)" in cause
        assert "VIOLATED_CONSTRAINT" in cause
        assert not batch.dead_letters()
        assert part.assignment.sink_limits.records == 0
        inserts.append(len(rig.sizes()))
    assert "ClickHouse rejected 1" in cause, "a suspect has to be known after a few more rejections"
    assert inserts[0] < 5 * 1_000
    assert inserts[1] < 5 * REJECTIONS_BEFORE_REVIEW + 10
    rig.sink.refuse = lambda row: row["kafka_offset"] % 10 == 0
    batch = rig.batch(100, partitions=2)
    rig.insertion.run(batch)
    assert (len(batch.dead_letters()), batch.given_up) == (20, [])


def test_an_account_that_has_to_be_given_again_is_counted_once(rig: Rig) -> None:
    rig.insertion.run(rig.batch(10))
    rig.sink.refuse = refusing(12)
    original, failures = rig.sink.insert, [True]

    def insert(columns: Columns, token: str) -> None:
        if "refused_by_sink" in columns[INDEX["reason"]] and failures and failures.pop():
            raise SinkRefused("the ledger rejects", ErrorClass.SCHEMA, 469)
        original(columns, token)

    rig.sink.insert = insert  # type: ignore[method-assign]
    batch = rig.batch(10)
    with pytest.raises(SinkUnavailable):
        rig.insertion.run(batch)
    rig.insertion.run(batch)
    limits = rig.assignments[0].sink_limits
    assert (limits.records, limits.rejected) == (20, 1)
