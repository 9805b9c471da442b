"""An open transaction is named by how long the stable offset stands still, not by how much lies behind it."""

from types import SimpleNamespace

from kafka import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.kafka.source.transactions import OpenTransactions
from pipeline.records import Partition
from tests.support.fakes.clock import FakeClock

PART = TopicPartition("run-steps", 3)
LIMIT = KafkaSettings().max_open_transaction


class Client:
    """A client that has fetched up to a high watermark."""

    def __init__(self) -> None:
        self._subscription = SimpleNamespace(assignment={PART: SimpleNamespace(highwater=None)})

    def fetched(self, high_watermark: int | None) -> "Client":
        self._subscription.assignment[PART].highwater = high_watermark
        return self


def watching() -> tuple[OpenTransactions, Client, FakeClock]:
    clock = FakeClock()
    return OpenTransactions(KafkaSettings(), clock.monotonic), Client(), clock


def test_a_stable_offset_that_moves_is_no_hanging_transaction_however_much_is_open() -> None:
    transactions, client, clock = watching()
    for number in range(100):
        clock.advance(LIMIT - 1)
        assert transactions.look(client.fetched(10 * number + 10), {PART: 10 * number}) == {PART: 10}
        assert transactions.held_back == {}


def test_one_that_stands_still_is_named_after_the_limit_and_no_longer_when_it_moves() -> None:
    transactions, client, clock = watching()
    transactions.look(client.fetched(1_501), {PART: 600})
    clock.advance(LIMIT - 1)
    transactions.look(client.fetched(1_601), {PART: 600})
    assert transactions.held_back == {}
    clock.advance(1)
    transactions.look(client, {PART: 600})
    cause = transactions.held_back[Partition("run-steps", 3)]
    assert cause == (
        "1,001 offsets wait behind a transaction that a producer has left open at offset 600 for 60 s or longer; run "
        "`kafka-transactions.sh --bootstrap-server localhost:9092 find-hanging --topic run-steps --partition 3`, or "
        "`runstep doctor`, which names the producer"
    )
    transactions.look(client, {PART: 1_601})
    assert transactions.held_back == {}


def test_a_partition_that_left_begins_anew_when_it_comes_back() -> None:
    transactions, client, clock = watching()
    transactions.look(client.fetched(1_501), {PART: 600})
    clock.advance(LIMIT)
    transactions.look(client, {})
    transactions.look(client, {PART: 600})
    assert transactions.held_back == {}


def test_an_unknown_or_older_high_watermark_means_nothing_waits() -> None:
    transactions, client, _ = watching()
    assert transactions.look(client, {PART: 600}) == {PART: 0}
    assert transactions.look(client.fetched(500), {PART: 600}) == {PART: 0}
    assert transactions.look(client, {TopicPartition("run-steps", 4): 9}) == {TopicPartition("run-steps", 4): 0}
