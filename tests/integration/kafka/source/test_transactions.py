"""What a producer's open transaction holds back, on real Kafka: it is told, and it flows when the transaction ends."""

import pytest

from pipeline.contracts import Progress
from tests.support.source_rig import Reader, World, numbered
from tests.support.transactions import open_transaction


def progress(reader: Reader, world: World) -> Progress | None:
    reader.poll()
    return reader.member.progress().get(world.partition())


def test_records_behind_an_open_transaction_are_not_taken_for_read(world: World) -> None:
    world.produce(*numbered(0, 5))
    with open_transaction(world.bootstrap, world.topic, b"open") as producer:
        world.produce(*numbered(5, 15))
        reader = world.reader(max_open_transaction=0.01)
        reader.read(*numbered(0, 5))
        held_back = reader.member.brokers.transactions
        reader.until(lambda: progress(reader, world) == Progress(5, 0, 5, unstable=11))
        reader.until(lambda: progress(reader, world) is not None and world.partition() in held_back.held_back)
        cause = held_back.held_back[world.partition()]
        assert cause.startswith("11 offsets wait behind a transaction that a producer has left open at offset 5 for")
        assert f"find-hanging --topic {world.topic} --partition 0`" in cause
        assert set(held_back.held_back) == {world.partition()}
        producer.abort_transaction()
        reader.read(*numbered(5, 15))
        reader.until(lambda: progress(reader, world) == Progress(17, 0, 17))
        assert held_back.held_back == {}


@pytest.mark.parametrize("abort", [True, False])
def test_transactions_that_end_are_never_taken_for_one_that_hangs(world: World, abort: bool) -> None:
    reader = world.assigned(max_open_transaction=60)
    for number in range(3):
        with open_transaction(world.bootstrap, world.topic, b"%d" % number) as producer:
            reader.until(lambda: (found := progress(reader, world)) is not None and found.unstable == 1)
            producer.abort_transaction() if abort else producer.commit_transaction()
            reader.until(lambda: (found := progress(reader, world)) is not None and found.unstable == 0)
    assert reader.member.brokers.transactions.held_back == {}


def test_a_consumer_that_is_made_again_forgets_what_waited(world: World) -> None:
    with open_transaction(world.bootstrap, world.topic, b"open"):
        reader = world.reader(max_open_transaction=0.01)
        reader.until(lambda: bool(progress(reader, world)) and bool(reader.member.brokers.transactions.held_back))
        reader.member._recreate_consumer("a test")
        assert reader.member.brokers.transactions.held_back == {}
