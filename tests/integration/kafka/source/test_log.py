"""Real Kafka whose log is not what it was: truncated, dropped, recreated, damaged. Nothing is passed over silently."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import LogTruncationError
from kafka.structs import OffsetAndMetadata

from pipeline.contracts import Assigned, OffsetsLost, Withdrawn
from pipeline.kafka.source.source import KafkaSource
from tests.support.source_rig import PrivateWorld, Reader, World, numbered


def truncate(world: PrivateWorld, keep: Path, *values: bytes) -> None:
    """Let the broker go back to the log it had once, as an unclean election does, and continue from there."""
    with world.stopped() as folder:
        shutil.rmtree(folder)
        shutil.copytree(keep, folder)
    world.produce_anew(*values)


@pytest.fixture
def cut(private_world: PrivateWorld, tmp_path: Path) -> Callable[..., None]:
    """Return what cuts a log of a hundred records down to its first fifty, and appends others."""
    world, keep = private_world, tmp_path / "keep"
    world.produce(*numbered(0, 50))
    with world.stopped() as folder:
        shutil.copytree(folder, keep)
    world.produce_anew(*numbered(50, 100))
    return lambda *values: truncate(world, keep, *values)


def test_a_log_that_was_truncated_and_filled_again_while_we_were_down_is_read_from_where_it_differs(
    private_world: PrivateWorld, cut: Callable[..., None]
) -> None:
    first = private_world.assigned()
    first.read(*numbered(0, 100))
    first.commit({private_world.partition(): 100})
    first.member.close()
    cut(*numbered(200, 300))
    second = private_world.reader()
    second.read(*numbered(200, 300))
    assert second.values() == numbered(200, 300)
    assert [record.offset for record in second.records] == list(range(50, 150))
    assert not second.reported(OffsetsLost)


def test_a_log_that_is_truncated_while_we_read_makes_the_owner_drop_what_it_has(
    private_world: PrivateWorld, cut: Callable[..., None]
) -> None:
    reader = private_world.assigned(session_timeout=60.0)
    reader.read(*numbered(0, 100))
    began = len(reader.changes)
    cut(*numbered(200, 300))
    reader.read(*numbered(200, 300))
    assert reader.values() == numbered(0, 100) + numbered(200, 300)
    partition = private_world.partition()
    reported = [change for change in reader.changes[began:] if change.partition == partition]
    assert reported[-2:] == [Withdrawn(partition, lost=True), Assigned(partition)]
    reader.commit({partition: 150})
    assert private_world.committed() == 150


def test_a_truncated_log_halts_its_partition_if_so_set_and_each_time_it_is_tried_again(
    private_world: PrivateWorld, cut: Callable[..., None]
) -> None:
    first = private_world.assigned()
    first.read(*numbered(0, 100))
    first.commit({private_world.partition(): 100})
    first.member.close()
    cut(*numbered(200, 300))
    second = private_world.reader(on_lost_offsets="halt")
    for _ in range(2):
        second.until(lambda: bool(second.member.halted))
        assert "from offset 50 on" in second.member.halted[private_world.partition()]
        assert not second.records
        second.member.resume_halted(private_world.partition())


def test_a_truncation_whose_place_nobody_knows_is_read_again_from_the_start(world: World) -> None:
    world.produce(*numbered(0, 3))
    reader = world.assigned()
    reader.read(*numbered(0, 3))
    foreign = TopicPartition(world.topic, 77)
    error = LogTruncationError({TopicPartition(world.topic, 0): None, foreign: OffsetAndMetadata(5, "", 1)})
    reader.member._consumer._fetcher._cached_log_truncation = error
    reader.until(lambda: len(reader.records) == 6)
    assert reader.values() == numbered(0, 3) * 2


def test_a_topic_that_is_made_again_is_read_from_its_start_and_the_owner_drops_what_it_has(world: World) -> None:
    reader = world.assigned(metadata_max_age=1.0)
    world.produce(*numbered(0, 20))
    reader.read(*numbered(0, 20))
    began = len(reader.changes)
    world.recreate_topic()
    world.produce_anew(*numbered(100, 160))
    reader.read(*numbered(100, 160))
    partition = world.partition()
    reported = [change for change in reader.changes[began:] if change.partition == partition]
    assert reported[-2:] == [Withdrawn(partition, lost=True), Assigned(partition)]


def test_an_offset_that_was_committed_before_anybody_noticed_does_not_hide_the_start_of_the_new_topic(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.assigned()
    world.produce(*numbered(0, 20))
    first.read(*numbered(0, 20))
    monkeypatch.setattr(first.member._positions.topics, "recreated", lambda *_: set())
    world.recreate_topic()
    world.produce_anew(*numbered(100, 160))
    first.read(*numbered(120, 160))
    assert not set(numbered(100, 120)) & set(first.values())
    first.commit({world.partition(): 60})
    first.member.close()
    second = world.reader()
    second.read(*numbered(100, 160))
    assert second.values() == numbered(100, 160)


def test_a_topic_that_is_deleted_is_named_and_read_from_its_start_when_it_is_there_again(world: World) -> None:
    reader = world.assigned(metadata_max_age=0.5, start="latest")
    world.produce(*numbered(0, 3))
    reader.read(*numbered(0, 3))
    with world.admin() as admin:
        admin.delete_topics([world.topic])

    def named() -> bool:
        reader.member.progress()
        return "topics" in reader.member.troubles

    reader.until(named)
    assert f"{world.topic!r} does not exist" in reader.member.troubles["topics"]
    world.make_topic()
    world.produce_anew(*numbered(100, 160))
    reader.read(*numbered(100, 160))
    reader.until(lambda: not named())


def lose(world: World, admin: KafkaAdminClient, committed: int, below: int) -> None:
    """Let Kafka drop records that are not committed."""
    world.produce(*numbered(0, 10))
    first = world.assigned()
    first.read(*numbered(0, 10))
    first.commit({world.partition(0): committed})
    first.member.close()
    admin.delete_records({TopicPartition(world.topic, 0): below})


def test_lost_offsets_are_reported_once_and_a_halted_partition_stays_halted(
    world: World, kafka_admin: KafkaAdminClient
) -> None:
    lose(world, kafka_admin, 3, 7)
    second = world.assigned(on_lost_offsets="halt")
    second.until(lambda: bool(second.member.halted))
    world.produce(b"other", partition=1)
    second.read(b"other")
    for _ in range(3):
        second.member.pause()
        second.poll()
        second.member.resume()
        second.poll()
    assert second.values() == [b"other"]
    assert second.reported(OffsetsLost) == [OffsetsLost(world.partition(0), 3, 6)]
    assert "offsets 3 to 6" in second.member.halted[world.partition(0)]


@pytest.mark.parametrize("again", [KafkaSource.resume_halted, lambda member, _: member._recreate_consumer("a test")])
def test_lost_offsets_are_not_reported_again_when_the_same_process_meets_them_again(
    world: World, kafka_admin: KafkaAdminClient, again: Callable[..., None]
) -> None:
    lose(world, kafka_admin, 3, 7)
    reader = world.assigned(on_lost_offsets="halt")
    for below in (7, 9):
        kafka_admin.delete_records({TopicPartition(world.topic, 0): below})
        for _ in range(2):
            reader.until(lambda: bool(reader.member.halted))
            again(reader.member, world.partition(0))
    assert reader.reported(OffsetsLost) == [
        OffsetsLost(world.partition(0), 3, 6),
        OffsetsLost(world.partition(0), 7, 8),
    ]


def test_what_was_read_and_not_committed_is_reported_too_when_it_is_lost_before_it_can_be_read_again(
    world: World, kafka_admin: KafkaAdminClient
) -> None:
    world.produce(*numbered(0, 5))
    reader = world.assigned()
    reader.read(*numbered(0, 5))
    reader.commit({world.partition(0): 1})
    reader.member.pause()
    reader.poll()
    world.produce(*numbered(5, 10))
    kafka_admin.delete_records({TopicPartition(world.topic, 0): 9})
    reader.member.resume()
    reader.read(b"9")
    assert reader.reported(OffsetsLost) == [OffsetsLost(world.partition(0), 5, 8)]
    reader.member.halt(world.partition(0), "its rows were not taken")
    reader.member.resume_halted(world.partition(0))
    reader.until(lambda: len(reader.reported(OffsetsLost)) > 1)
    assert reader.reported(OffsetsLost)[1:] == [OffsetsLost(world.partition(0), 1, 4)]


def test_lost_offsets_that_were_reported_are_committed_although_no_record_follows(
    world: World, kafka_admin: KafkaAdminClient
) -> None:
    lose(world, kafka_admin, 3, 10)
    reader = world.assigned()
    reader.until(lambda: bool(reader.reported(OffsetsLost)))
    reader.until(lambda: bool(reader.member.progress()) and world.committed() == 10)
    reader.member.close()
    other = world.assigned()
    world.produce(b"next")
    other.read(b"next")
    assert not other.reported(OffsetsLost)


def in_transactions(world: World, *outcomes: str) -> None:
    producer = KafkaProducer(bootstrap_servers=world.bootstrap, transactional_id=world.topic)
    producer.init_transactions()
    for outcome in outcomes:
        producer.begin_transaction()
        producer.send(world.topic, value=outcome.encode(), partition=0)
        producer.flush()
        getattr(producer, f"{outcome}_transaction")()
    producer.close()


def test_a_commit_of_all_that_was_read_covers_the_marks_of_transactions_behind_it(world: World) -> None:
    in_transactions(world, "commit", "abort")
    reader = world.assigned()
    reader.read(b"commit")
    until_passed(reader, world, 4)
    reader.commit({world.partition(): 0})
    assert world.committed() == 0
    reader.commit({world.partition(): 1})
    assert world.committed() == 4


def test_marks_of_transactions_that_come_later_are_committed_at_rest_but_not_past_what_is_not_committed(
    world: World,
) -> None:
    reader = world.assigned()
    world.produce(b"plain")
    reader.read(b"plain")
    in_transactions(world, "abort")
    until_passed(reader, world, 3)
    assert world.committed() is None
    reader.commit({world.partition(): 1})
    assert world.committed() == 3
    in_transactions(world, "abort")
    until_passed(reader, world, 5)
    assert world.committed() == 5
    in_transactions(world, "commit")
    reader.read(b"commit")
    until_passed(reader, world, 7)
    assert world.committed() == 5


def until_passed(reader: Reader, world: World, offset: int) -> None:
    """Poll until the marks behind the last record were read too, and let the source be at rest for once."""
    place = TopicPartition(*world.partition())

    def passed() -> bool:
        position = reader.member._positions.position(reader.member._consumer, place)
        return position is not None and position.offset == offset

    reader.until(passed)
    reader.until(lambda: bool(reader.member.progress()))


def test_other_tools_offsets_are_believed(world: World, kafka_admin: KafkaAdminClient) -> None:
    world.produce(*numbered(0, 10))
    mark: dict[TopicPartition, Any] = {TopicPartition(world.topic, 0): OffsetAndMetadata(7, "of another tool", -1)}
    kafka_admin.alter_group_offsets(f"group-{world.topic}", mark)
    reader = world.reader()
    reader.read(*numbered(7, 10))
    assert reader.values() == numbered(7, 10)
