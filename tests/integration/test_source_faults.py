"""Real Kafka and a client that fails: nothing is lost silently, nothing hangs, and the trouble is named."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    LogTruncationError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownBrokerIdError,
)
from kafka.structs import OffsetAndMetadata

from pipeline.contracts import OffsetsLost, Withdrawn
from pipeline.errors import ConfigError
from tests.acceptance.daemon import migrate, running_daemon
from tests.integration.source_rig import World


@pytest.fixture
def world(kafka: Any, topic: Callable[..., str]) -> Iterator[World]:
    made = World(kafka.bootstrap, topic(partitions=2))
    yield made
    made.close()


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


@pytest.mark.parametrize(
    "error", [SaslAuthenticationFailedError(), KafkaConnectionError("gone"), UnknownBrokerIdError(9)], ids=type
)
def test_records_that_a_failing_poll_had_taken_come_again(world: World, error: Exception) -> None:
    reader = world.assigned()
    fetcher = reader.member._consumer._fetcher
    take, send = fetcher.fetched_records, fetcher.send_fetches
    state = {"taken": False, "failed": 0}

    def taking(*arguments: Any, **options: Any) -> Any:
        records, _ = take(*arguments, **options)
        state["taken"] = bool(records)
        return records, False

    def sending() -> Any:
        if state["taken"]:
            state["failed"] += 1
            raise error
        return send()

    fetcher.fetched_records, fetcher.send_fetches = taking, sending
    # What is left of a chunk is taken from the buffer, before the next fetch is sent.
    reader.member._max_records = 2
    reader.member.hold()
    reader.poll()
    world.produce(*numbered(0, 10))
    reader.member.release()
    reader.until(lambda: bool(state["failed"]))
    fetcher.send_fetches = send
    reader.read(*numbered(0, 10))
    assert list(dict.fromkeys(reader.values())) == numbered(0, 10)
    assert not [change for change in reader.changes if isinstance(change, Withdrawn)]


def test_a_partition_without_a_leader_stops_neither_the_others_nor_the_daemon(world: World) -> None:
    reader = world.assigned()
    cluster = reader.member._consumer._cluster
    leader = cluster.leader_for_partition
    cluster.leader_for_partition = lambda partition: None if partition.partition else leader(partition)
    assert reader.member.lags() == reader.member.lags() == {}
    assert "no leader" in reader.member.troubles["brokers"]
    world.produce(b"a")
    reader.read(b"a")
    cluster.leader_for_partition = leader
    reader.until(lambda: reader.member.lags() == {world.partition(0): 0, world.partition(1): 0})
    assert not reader.member.troubles


def test_a_truncation_whose_place_nobody_knows_is_read_again_from_the_start(world: World) -> None:
    world.produce(*numbered(0, 3))
    reader = world.assigned()
    reader.read(*numbered(0, 3))
    foreign = TopicPartition(world.topic, 77)
    error = LogTruncationError({TopicPartition(world.topic, 0): None, foreign: OffsetAndMetadata(5, "", 1)})
    reader.member._consumer._fetcher._cached_log_truncation = error
    reader.until(lambda: len(reader.records) == 6)
    assert reader.values() == numbered(0, 3) * 2


def test_a_latest_start_is_fixed_when_it_is_chosen_so_that_the_next_owner_misses_nothing(world: World) -> None:
    world.produce(b"before")
    first = world.assigned(start="latest")
    world.produce(*numbered(0, 3))
    first.read(*numbered(0, 3))
    first.member.close()
    second = world.reader(start="latest")
    second.read(*numbered(0, 3))
    assert second.values() == numbered(0, 3)


def test_a_topic_that_is_made_again_is_read_from_its_start(world: World, kafka_admin: KafkaAdminClient) -> None:
    reader = world.assigned(metadata_max_age=1.0)
    world.produce(*numbered(0, 20))
    reader.read(*numbered(0, 20))
    kafka_admin.delete_topics([world.topic])
    deadline = time.monotonic() + 20
    while True:
        try:
            kafka_admin.create_topics([NewTopic(world.topic, 2, 1)])
            break
        except TopicAlreadyExistsError:
            assert time.monotonic() < deadline
    world.producer.close()
    world.producer = KafkaProducer(bootstrap_servers=world.bootstrap)
    world.produce(*numbered(100, 160))
    reader.read(*numbered(100, 160))


def test_lost_offsets_are_told_once_and_a_halted_partition_stays_halted(
    world: World, kafka_admin: KafkaAdminClient
) -> None:
    world.produce(*numbered(0, 10))
    first = world.assigned()
    first.read(*numbered(0, 10))
    first.commit({world.partition(0): 3})
    first.member.close()
    kafka_admin.delete_records({TopicPartition(world.topic, 0): 7})
    second = world.assigned(on_lost_offsets="halt")
    second.until(lambda: bool(second.member.halted))
    world.produce(b"other", partition=1)
    second.read(b"other")
    for _ in range(3):
        second.member.hold()
        second.poll()
        second.member.release()
        second.poll()
    assert second.values() == [b"other"]
    assert [change for change in second.changes if isinstance(change, OffsetsLost)] == [
        OffsetsLost(world.partition(0), 3, 6)
    ]
    assert "offsets 3 to 6" in second.member.halted[world.partition(0)]


def test_what_comes_to_a_member_that_holds_is_held_too(world: World) -> None:
    first, second = world.reader(), world.reader()
    first.until(lambda: len(first.owned) == len(second.owned) == 1, second)
    (given,) = second.owned
    first.member.hold()
    second.member.close()
    world.produce(b"a", b"b", partition=given.number)
    first.until(lambda: len(first.owned) == 2 and not first.member._unstarted)
    for _ in range(5):
        first.poll()
    assert not first.records
    first.member.release()
    first.read(b"a", b"b")


def test_a_partition_whose_committed_offset_is_not_known_waits_and_the_other_flows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.produce(b"a", partition=0)
    world.produce(b"b", partition=1)
    reader = world.reader()
    reader.poll()
    consumer = reader.member._consumer
    committed = consumer.committed

    def silent(partition: TopicPartition, **options: Any) -> Any:
        if partition.partition == 1:
            raise KafkaTimeoutError("no answer")
        return committed(partition, **options)

    monkeypatch.setattr(consumer, "committed", silent)
    reader.read(b"a")
    assert reader.values() == [b"a"]
    assert "no answer" in reader.member.troubles["start"]
    monkeypatch.setattr(consumer, "committed", committed)
    reader.read(b"b")
    assert sorted(map(bytes, reader.values())) == [b"a", b"b"]
    assert not reader.member.troubles


def test_a_commit_that_is_refused_is_a_named_trouble_and_not_a_line_for_each_turn(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = world.assigned()
    consumer = reader.member._consumer

    def refuse(*_: Any, **__: Any) -> None:
        raise GroupAuthorizationFailedError("group-1")

    with monkeypatch.context() as patched:
        patched.setattr(consumer, "commit", refuse)
        assert [reader.member.commit({world.partition(0): 0}) for _ in range(5)] == [None] * 5
    assert "GroupAuthorizationFailed" in reader.member.troubles["commit"]
    assert sum("commit" in record.getMessage() for record in caplog.records) <= 1
    reader.commit({world.partition(0): 0})
    assert not reader.member.troubles


def test_who_is_fenced_by_a_member_of_the_same_name_ends_and_says_why(world: World) -> None:
    first = world.assigned(group_instance_id="one")
    second = world.reader(group_instance_id="one")
    second.until(lambda: len(second.owned) == 2)
    with pytest.raises(ConfigError, match=r"kafka\.group_instance_id 'one'"):
        first.until(lambda: first.member.commit({world.partition(0): 0}) is not None)
    second.commit({world.partition(0): 0})


def test_frozen_brokers_are_named_waited_for_and_never_hang_us(kafka_factory: Callable[..., Any]) -> None:
    broker = kafka_factory()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic("frozen", 2, 1)])
    admin.close()
    world = World(broker.bootstrap, "frozen")
    reader = world.assigned(session_timeout=30.0)
    world.produce(b"a")
    reader.read(b"a")
    broker.pause()
    began = time.monotonic()
    assert reader.member.commit({world.partition(0): 1}) is None
    assert reader.member.lags() == reader.member.lags() == {}
    reader.longest_poll = 0.0
    reader.poll()
    assert time.monotonic() - began < 8, "three questions of a second each"
    assert set(reader.member.troubles) == {"commit", "brokers"}
    broker.resume()
    reader.commit({world.partition(0): 1})
    reader.until(lambda: bool(reader.member.lags()))
    assert not reader.member.troubles
    world.produce(b"b")
    reader.read(b"b")
    broker.kill()
    reader.member.close()
    world.close()


def test_frozen_brokers_show_in_readyz_and_are_forgiven(
    kafka_factory: Callable[..., Any], clickhouse: Any, database: str
) -> None:
    broker = kafka_factory()
    place = (broker.address, clickhouse, "steps", database)
    migrate(*place)
    with running_daemon(*place, kafka__session_timeout=30) as daemon:
        broker.pause()
        deadline = time.monotonic() + 30
        while (answer := daemon.get("/readyz"))[0] == 200:
            assert time.monotonic() < deadline, answer
            time.sleep(0.2)
        assert "Kafka does not answer" in answer[1]
        assert daemon.get("/healthz")[0] == 200
        broker.resume()
        daemon.wait_until_ready()


def corrupt(folder: Path, topic: str, value: bytes) -> None:
    (segment,) = (folder / "log" / f"{topic}-0").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(value)] ^= 0xFF
    segment.write_bytes(data)


def test_a_corrupt_batch_halts_its_partition_and_the_other_flows_on(kafka_factory: Callable[..., Any]) -> None:
    broker = kafka_factory()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic("corrupt", 2, 1)])
    admin.close()
    world = World(broker.bootstrap, "corrupt")
    for value in (b"good-1", b"broken", b"good-2"):
        world.produce(value)
    world.produce(b"other")
    world.producer.close()
    broker.stop()
    corrupt(broker.folder, "corrupt", b"broken")
    broker.start()
    world.producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    reader = world.reader()
    reader.until(lambda: bool(reader.member.halted))
    for number in range(3):
        world.produce(b"flows-%d" % number, partition=1)
        reader.member.hold()
        reader.poll()
        reader.member.release()
        reader.read(b"flows-%d" % number)
    assert reader.values(0) == [b"good-1"]
    assert list(reader.member.halted) == [world.partition(0)]
    assert "offset 1 failed crc check" in reader.member.halted[world.partition(0)]
    assert reader.longest_poll < 10
    world.close()
