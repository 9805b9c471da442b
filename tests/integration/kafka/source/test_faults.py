"""Real Kafka and a client that fails: nothing is lost silently, nothing hangs, and the trouble is named."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnknownBrokerIdError,
)

from pipeline.contracts import Withdrawn
from tests.support.daemon import migrate, running_daemon
from tests.support.source_rig import World, numbered


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
    reader.member.pause()
    reader.poll()
    world.produce(*numbered(0, 10))
    reader.member.resume()
    reader.until(lambda: bool(state["failed"]))
    fetcher.send_fetches = send
    reader.read(*numbered(0, 10))
    assert list(dict.fromkeys(reader.values())) == numbered(0, 10)
    assert not [change for change in reader.changes if isinstance(change, Withdrawn)]


def test_what_was_put_aside_of_a_paused_partition_is_delivered_when_it_is_resumed(world: World) -> None:
    reader = world.assigned()
    world.produce(*numbered(0, 10), partition=0)
    reader.member._max_records = 1
    reader.until(lambda: bool(reader.records))
    # The rest of what was fetched is in the client's hands.
    reader.member._consumer.pause(*reader.member._consumer.assignment())
    reader.poll()
    reader.member._consumer.resume(TopicPartition(*world.partition(1)))
    world.produce(b"other", partition=1)
    reader.read(b"other")
    reader.member._consumer.resume(TopicPartition(*world.partition(0)))
    reader.read(*numbered(0, 10))
    assert reader.values(0) == numbered(0, 10)


def test_a_partition_without_a_leader_stops_neither_the_others_nor_the_daemon(world: World) -> None:
    reader = world.assigned()
    cluster = reader.member._consumer._cluster
    leader = cluster.leader_for_partition
    cluster.leader_for_partition = lambda partition: None if partition.partition else leader(partition)
    assert reader.member.progress() == reader.member.progress() == {}
    assert "no leader" in reader.member.troubles["brokers"]
    world.produce(b"a")
    reader.read(b"a")
    cluster.leader_for_partition = leader
    reader.until(lambda: {p: at.lag for p, at in reader.member.progress().items()} == dict.fromkeys(reader.owned, 0))
    assert not reader.member.troubles


def test_a_partition_whose_committed_offset_is_not_known_waits_and_the_other_flows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.produce(b"a", partition=0)
    world.produce(b"b", partition=1)
    committed = KafkaConsumer.committed

    def silent(consumer: KafkaConsumer, partition: TopicPartition, **options: Any) -> Any:
        if partition.partition == 1:
            raise KafkaTimeoutError("no answer")
        return committed(consumer, partition, **options)

    monkeypatch.setattr(KafkaConsumer, "committed", silent)
    reader = world.reader()
    reader.read(b"a")
    assert reader.values() == [b"a"]
    assert "does not answer in time" in reader.member.troubles["start"]
    monkeypatch.setattr(KafkaConsumer, "committed", committed)
    reader.read(b"b")
    assert sorted(reader.values(), key=str) == [b"a", b"b"]
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


def test_a_commit_that_failed_is_no_trouble_any_more_when_nothing_waits_for_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = world.assigned()
    world.produce(b"a")
    reader.read(b"a")
    consumer = reader.member._consumer

    def refuse(*_: Any, **__: Any) -> None:
        raise KafkaConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(consumer, "commit", refuse)
        assert reader.member.commit({world.partition(0): 1}) is None
        reader.member.progress()
        assert "gone" in reader.member.troubles["commit"], "it still waits"
    other = world.reader()
    other.until(lambda: bool(other.owned) and other.started(), reader)
    others = {partition: 1 if partition == world.partition(0) else 0 for partition in other.owned}
    if world.partition(0) not in others:
        reader.commit({world.partition(0): 1})
    other.commit(others)
    reader.until(lambda: bool(reader.member.progress()), other)
    assert not reader.member.troubles


def test_frozen_brokers_are_named_waited_for_and_never_hang_us(kafka_factory: Callable[..., Any]) -> None:
    broker = kafka_factory()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic("frozen", 2, 1)])
    admin.close()
    with closing(World(broker.bootstrap, "frozen")) as world:
        reader = world.assigned(session_timeout=30.0)
        world.produce(b"a")
        reader.read(b"a")
        broker.pause()
        assert reader.member.commit({world.partition(0): 1}) is None
        assert reader.member.progress() == reader.member.progress() == {}
        reader.poll()
        assert set(reader.member.troubles) == {"commit", "brokers"}
        broker.resume()
        reader.commit({world.partition(0): 1})
        reader.until(lambda: bool(reader.member.progress()))
        assert not reader.member.troubles
        world.produce(b"b")
        reader.read(b"b")
        broker.kill()


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
