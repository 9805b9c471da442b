"""The writer on fakes: every row and dead letter, or nothing; the same token for the same bytes and for no others."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pipeline.contracts import Columns, StepKey
from pipeline.daemon.attempts import FAILURES_BEFORE_PROBE, RetryPolicy
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.writer import MAX_DEAD_LETTERS_PER_SEND, Writer
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.metrics import Metrics
from pipeline.records import InvalidRecord, Partition
from schemas.row import INDEX
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.kafka import FakeDeadLetters, FakeRecord
from tests.support.fakes.rows import normalized, step_row
from tests.support.fakes.sink import FakeSink, Fault

AWAY = SinkUnavailable("ClickHouse is away", ErrorClass.TRANSIENT)
TOPIC = "run-steps"


class WatchedSink(FakeSink):
    """Keeps what came under each token, and what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, set[str]] = {}
        self.asked: list[tuple[Partition, int, int]] = []
        self.reject_account = 0
        self.bug: Exception | None = None

    def insert(self, columns: Columns, token: str) -> None:
        if self.bug is not None:
            raise self.bug
        self.contents.setdefault(token, set()).add(repr(columns))
        if "refused_by_sink" in columns[INDEX["reason"]] and self.reject_account:
            self.reject_account -= 1
            raise SinkRefused("the ledger rejects", ErrorClass.SCHEMA, 469)
        super().insert(columns, token)

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        self.asked.append((partition, below, limit))
        return super().counted_steps(partition, below, limit)


class CountingDeadLetters(FakeDeadLetters):
    """Keeps the size of each sending; fails at those that are named."""

    def __init__(self) -> None:
        super().__init__()
        self.sendings: list[int] = []
        self.fail_at: set[int] = set()

    def send(self, dead_letters: Sequence[InvalidRecord]) -> None:
        self.sendings.append(len(dead_letters))
        self.failures = int(len(self.sendings) in self.fail_at)
        super().send(dead_letters)


class Rig:
    def __init__(self) -> None:
        self.sink = WatchedSink()
        self.dead_letters = CountingDeadLetters()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry, (1.0,))
        self.writer = Writer(self.sink, self.dead_letters, metrics, FakeClock(), RetryPolicy(0.01, 0.02), 1_000)
        self.assignment = Assignment(Partition(TOPIC, 0))
        self.next = 0

    def submit(self, rows: int) -> Batch:
        batch = Batch()
        offsets = range(self.next, self.next + rows)
        records = [FakeRecord(TOPIC, 0, offset, 1_000, b"k", b"v") for offset in offsets]
        batch.part(self.assignment).extend(normalized([step_row(offset) for offset in offsets], records))
        batch.seal(1_790_000_000.0)
        self.next += rows
        self.writer.submit(batch)
        return batch

    def deliver(self, rows: int) -> Batch:
        submitted = self.submit(rows)
        assert self.until(self.writer.collect) is submitted
        return submitted

    def until(self, question: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (answer := question()):
            assert time.monotonic() < deadline, self.writer.attempts.trouble
            time.sleep(0.001)
        return answer

    def outcomes(self) -> dict[int, str]:
        return {row["kafka_offset"]: row["outcome"] for row in self.sink.ledger().values()}

    def check_tokens(self) -> None:
        """No token stood for two contents."""
        assert all(len(contents) == 1 for contents in self.sink.contents.values())


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.writer.start()
    yield made
    made.writer.close(5.0)
    made.check_tokens()


def refusing(*offsets: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["kafka_offset"] in offsets


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_what_may_have_been_written_is_sent_again_under_the_same_token(rig: Rig, when: Any) -> None:
    rig.sink.faults.extend([Fault(AWAY, when)] * 3)
    rig.deliver(10)
    assert len({token for token, _ in rig.sink.attempts}) == 1
    assert rig.sink.physical_rows() == (10, 10)


@pytest.mark.parametrize("at_fault", [(0,), (99,), (37,), (3, 4), (0, 99), tuple(range(10, 25))])
def test_rejected_rows_are_found_by_halving_and_only_they_become_dead_letters(
    rig: Rig, at_fault: tuple[int, ...]
) -> None:
    rig.sink.refuse = refusing(*at_fault)
    rig.deliver(100)
    assert tuple(dead_letter.record.offset for dead_letter in rig.dead_letters.dead_letters) == at_fault
    assert {offset for offset, outcome in rig.outcomes().items() if outcome == "dead_lettered"} == set(at_fault)
    assert len(rig.outcomes()) == 100
    assert len(rig.sink.rows_current()) == 100 - len(at_fault)
    if len(at_fault) == 1:
        assert len(rig.sink.attempts) <= 2 * 7 + 2


def test_an_outage_in_the_middle_of_halving_loses_and_doubles_nothing(rig: Rig) -> None:
    rig.sink.refuse = refusing(5)
    rig.submit(16)
    rig.until(lambda: len(rig.sink.attempts) >= 2)
    rig.sink.down = AWAY
    rig.until(lambda: rig.writer.attempts.trouble is not None or rig.writer.collect())
    rig.sink.down = None
    rig.until(lambda: len(rig.outcomes()) == 16 and rig.dead_letters.dead_letters)
    assert [dead_letter.record.offset for dead_letter in rig.dead_letters.dead_letters] == [5]
    assert len(rig.sink.rows_current()) == 15


def test_a_ledger_that_takes_no_account_is_waited_for_and_what_is_sent_then_has_its_own_token(rig: Rig) -> None:
    rig.sink.refuse = refusing(3)
    rig.sink.reject_account = 4
    rig.deliver(8)
    assert rig.outcomes()[3] == "dead_lettered"
    assert [dead_letter.record.offset for dead_letter in rig.dead_letters.dead_letters] == [3]
    assert len(rig.sink.rows_current()) == 7


def test_a_table_that_rejects_every_row_is_waited_for(rig: Rig) -> None:
    rig.sink.refuse = lambda _row: True
    rig.submit(50)
    rig.until(lambda: "no row passes" in str(rig.writer.attempts.trouble))
    assert rig.writer.collect() is None
    assert not rig.dead_letters.dead_letters
    rig.sink.refuse = lambda _row: False
    rig.until(rig.writer.collect)
    assert set(rig.outcomes().values()) == {"stored"}
    assert not rig.dead_letters.dead_letters


def test_a_row_that_is_too_much_alone_is_waited_for_and_never_dropped(rig: Rig) -> None:
    rig.sink.most_rows = 0
    rig.submit(2)
    rig.until(lambda: "no row passes" in str(rig.writer.attempts.trouble))
    assert not rig.dead_letters.dead_letters
    rig.sink.most_rows = 1
    rig.until(rig.writer.collect)
    assert set(rig.outcomes().values()) == {"stored"}


def test_a_sink_that_is_away_gets_small_questions_instead_of_the_batch(rig: Rig) -> None:
    rig.until(lambda: rig.writer.attempts.trouble is None)
    rig.deliver(1)
    rig.sink.down = AWAY
    rig.submit(10)
    rig.until(lambda: rig.writer.attempts.failures_in_a_row >= 3 * FAILURES_BEFORE_PROBE)
    assert rig.writer.attempts.breaker != "closed"
    assert [rows for _, rows in rig.sink.attempts] == [1, *[10] * FAILURES_BEFORE_PROBE]
    rig.sink.down = None
    rig.until(rig.writer.collect)
    assert rig.writer.attempts.breaker == "closed"
    assert [rows for _, rows in rig.sink.attempts] == [1, *[10] * (FAILURES_BEFORE_PROBE + 1)]


def test_dead_letters_go_in_slices_and_what_was_delivered_is_not_sent_again(rig: Rig) -> None:
    rows = 2 * MAX_DEAD_LETTERS_PER_SEND + 10
    batch = Batch()
    records = [FakeRecord(TOPIC, 0, offset, 1_000, b"k", b"v") for offset in range(rows)]
    part = batch.part(rig.assignment)
    part.extend(normalized([step_row(offset) for offset in range(rows)], records))
    batch.seal(1_790_000_000.0)
    for row in range(rows):
        part.reject(row, "why")
    rig.dead_letters.fail_at = {2, 3}
    rig.writer.submit(batch)
    assert rig.until(rig.writer.collect) is batch
    assert rig.dead_letters.sendings == [MAX_DEAD_LETTERS_PER_SEND] * 4 + [10]
    assert [dead_letter.record.offset for dead_letter in rig.dead_letters.dead_letters] == list(range(rows))


def test_steps_counted_before_are_asked_for_once_an_assignment_below_its_first_record(rig: Rig) -> None:
    rig.deliver(3)
    rig.deliver(3)
    assert rig.sink.asked == [(Partition(TOPIC, 0), 0, 1_000)]
    rig.assignment = Assignment(Partition(TOPIC, 0))
    rig.sink.down = AWAY
    rig.submit(2)
    rig.until(lambda: len(rig.sink.asked) >= 3)
    rig.sink.down = None
    rig.until(rig.writer.collect)
    assert set(rig.sink.asked[1:]) == {(Partition(TOPIC, 0), 6, 1_000)}
    assert rig.assignment.counted is not None
    assert len(rig.assignment.counted) == 6


def test_a_bug_is_raised_where_the_owner_asks(rig: Rig) -> None:
    rig.until(lambda: rig.writer.attempts.trouble is None)
    rig.sink.bug = ZeroDivisionError("a bug")
    rig.submit(1)
    with pytest.raises(ZeroDivisionError):
        rig.until(rig.writer.collect)
    with pytest.raises(ZeroDivisionError):
        rig.writer.collect()


def test_closed_during_an_outage_it_gives_up_at_once_and_gives_nothing_back(rig: Rig) -> None:
    rig.until(lambda: rig.writer.attempts.trouble is None)
    rig.sink.down = AWAY
    rig.submit(1)
    rig.until(lambda: rig.writer.attempts.trouble is not None)
    rig.writer.close(60.0)
    assert rig.writer.collect() is None
    assert rig.sink.closed
    assert not rig.outcomes()
