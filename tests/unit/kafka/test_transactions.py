"""An open transaction is named by how long the stable offset stands still, not by how much lies behind it."""

from types import SimpleNamespace

from kafka import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.kafka.source.transactions import OpenTransactions
from pipeline.records import Partition
from tests.support.fakes.clock import FakeClock

PART = TopicPartition("run-steps", 3)
LIMIT = KafkaSettings().max_open_transaction


class Watched:
    """Partition 3, looked at again and again."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.transactions = OpenTransactions(KafkaSettings(), self.clock.monotonic)
        self._state = SimpleNamespace(highwater=None)
        self._client = SimpleNamespace(_subscription=SimpleNamespace(assignment={PART: self._state}))

    def look(self, stable: int | None, high: int | None) -> tuple[int, int] | None:
        """Look, with a stable offset of the brokers, or None for no answer; return the end and what lies behind it."""
        self._state.highwater = high
        ends = self.transactions.look(self._client, {} if stable is None else {PART: stable}, {PART})
        return ends[PART][:2] if PART in ends else None

    def leave(self) -> None:
        assert self.transactions.look(self._client, {}, ()) == {}


def test_a_stable_offset_that_moves_is_no_hanging_transaction_however_much_is_open() -> None:
    watched = Watched()
    for number in range(100):
        watched.clock.advance(LIMIT - 1)
        assert watched.look(10 * number, 10 * number + 10) == (10 * number, 10)
        assert watched.transactions.held_back == {}


def test_one_that_stands_still_is_named_after_the_limit_and_no_longer_when_it_moves() -> None:
    watched = Watched()
    watched.look(600, 1_501)
    watched.clock.advance(LIMIT - 1)
    watched.look(600, 1_601)
    assert watched.transactions.held_back == {}
    watched.clock.advance(1)
    watched.look(600, 1_601)
    cause = watched.transactions.held_back[Partition("run-steps", 3)]
    assert cause == (
        "1,001 offsets wait behind a transaction that a producer has left open at offset 600 for 60 s or longer; run "
        "`kafka-transactions.sh --bootstrap-server localhost:9092 find-hanging --topic run-steps --partition 3`, or "
        "`runstep doctor`, which names the producer"
    )
    watched.look(1_601, 1_601)
    assert watched.transactions.held_back == {}


def test_the_time_in_which_a_partition_was_read_to_its_end_does_not_count() -> None:
    watched = Watched()
    watched.look(600, 600)
    watched.clock.advance(10 * LIMIT)
    watched.look(600, 700)
    assert watched.transactions.held_back == {}


def test_a_broker_that_is_not_asked_has_not_left_its_end_where_it_was() -> None:
    watched = Watched()
    watched.look(600, 700)
    watched.clock.advance(10 * LIMIT)
    assert watched.look(None, 5_000) == (600, 100)
    assert watched.transactions.held_back == {}
    watched.look(600, 5_000)
    assert list(watched.transactions.held_back) == [Partition("run-steps", 3)]


def test_a_partition_that_left_begins_anew_when_it_comes_back() -> None:
    watched = Watched()
    watched.look(600, 1_501)
    watched.clock.advance(LIMIT)
    watched.leave()
    assert watched.look(None, 1_501) is None
    watched.look(600, 1_501)
    assert watched.transactions.held_back == {}


def test_an_unknown_or_older_high_watermark_means_nothing_waits() -> None:
    watched = Watched()
    assert watched.look(600, None) == (600, 0)
    assert watched.look(600, 500) == (600, 0)
