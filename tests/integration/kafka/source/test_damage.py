"""Real Kafka with damaged batches in its log: what cannot be read is reported by its place, nothing else suffers."""

from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.contracts import Change, Unreadable
from tests.support.source_rig import PrivateWorld, Reader


def one_by_one(world: PrivateWorld, *values: bytes) -> None:
    """Produce each value in a batch of its own."""
    for value in values:
        world.produce(value)


def unread(reader: Reader) -> list[tuple[int, int]]:
    return [(change.first, change.last) for change in reader.reported(Unreadable) if isinstance(change, Unreadable)]


def keeping_order(reader: Reader) -> list[int | Change]:
    """Return, in the order they came, the offsets of partition 0 and what was reported meanwhile."""
    seen: list[int | Change] = []
    poll, changes = reader.member.poll, reader.member.changes

    def polling(timeout: float, most: int) -> Any:
        polled = poll(timeout, most)
        latest = changes()
        reader.member.changes = lambda: latest  # type: ignore[method-assign]  # the source is observed here
        seen.extend(change for change in latest if isinstance(change, Unreadable))
        for records in polled.values():
            seen.extend(record.offset for record in records if record.partition == 0)
        return polled

    reader.member.poll = polling  # type: ignore[method-assign]  # the source is observed here
    return seen


def test_a_damaged_batch_is_passed_over_and_reported_in_its_place(private_world: PrivateWorld) -> None:
    one_by_one(private_world, b"good-0", b"good-1", b"broken", b"good-3")
    private_world.produce(b"other", partition=1)
    private_world.corrupt(b"broken")
    reader = private_world.reader()
    seen = keeping_order(reader)
    reader.read(b"good-3", b"other")
    assert reader.values(0) == [b"good-0", b"good-1", b"good-3"]
    (reported,) = reader.reported(Unreadable)
    assert seen == [0, 1, reported, 3]
    assert isinstance(reported, Unreadable)
    assert (reported.partition, reported.first, reported.last) == (private_world.partition(), 2, 2)
    assert "at offset 2 failed crc check" in reported.detail
    assert not reader.member.halted
    reader.commit({private_world.partition(): 4})


def test_all_of_a_batch_and_of_its_damaged_neighbours_is_reported(private_world: PrivateWorld) -> None:
    producer = KafkaProducer(bootstrap_servers=private_world.bootstrap, linger_ms=2_000, compression_type=None)
    for value in (b"broken-1", b"x", b"y"):
        producer.send(private_world.topic, value=value, partition=0)
    producer.close()
    one_by_one(private_world, b"broken-2", b"good")
    private_world.corrupt(b"broken-1", b"broken-2")
    reader = private_world.reader()
    reader.read(b"good")
    assert unread(reader) == [(0, 3)]
    assert reader.values() == [b"good"]


def test_a_damaged_batch_at_the_end_of_the_log_is_passed_over_as_far_as_the_broker_says(
    private_world: PrivateWorld,
) -> None:
    one_by_one(private_world, b"good", b"broken")
    private_world.corrupt(b"broken")
    reader = private_world.reader()
    reader.until(lambda: unread(reader) == [(1, 1)])
    private_world.produce_anew(b"next")
    reader.read(b"next")
    assert reader.values() == [b"good", b"next"]


def test_a_damaged_batch_that_fills_a_fetch_to_its_end_is_fetched_with_what_follows(
    private_world: PrivateWorld,
) -> None:
    one_by_one(private_world, b"good", b"broken" + b"x" * 1_100, b"last-but-one", b"last")
    private_world.corrupt(b"broken")
    reader = private_world.reader(max_partition_fetch_bytes=1_024)

    def resumed() -> bool:
        for partition in list(reader.member.halted):
            reader.member.resume_halted(partition)
        return b"last" in reader.values()

    reader.until(resumed)
    assert unread(reader) == [(1, 1)]
    assert set(reader.values()) == {b"good", b"last-but-one", b"last"}


def test_more_than_a_batch_can_hold_is_never_passed_over(private_world: PrivateWorld) -> None:
    one_by_one(private_world, b"broken-1", b"broken-2", b"good")
    private_world.corrupt(b"broken-1", b"broken-2")
    reader = private_world.reader(max_unreadable_offsets=1)
    reader.until(lambda: bool(reader.member.halted))
    assert "2 offsets cannot be read, too many" in reader.member.halted[private_world.partition()]
    assert not unread(reader)


def test_a_damaged_batch_halts_its_partition_if_so_set_and_costs_nothing_while_the_others_flow(
    private_world: PrivateWorld,
) -> None:
    one_by_one(private_world, b"good-1", b"broken", b"good-2")
    private_world.corrupt(b"broken")
    reader = private_world.reader(on_unreadable="halt")
    reader.until(lambda: bool(reader.member.halted))
    rounds = 0
    poll_once = reader.member._consumer._poll_once

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal rounds
        rounds += 1
        return poll_once(*arguments, **options)

    reader.member._consumer._poll_once = counting
    for _ in range(10):
        reader.poll()
    assert rounds < 200, "ten polls of a tenth of a second"
    for number in range(3):
        private_world.produce_anew(b"flows-%d" % number, partition=1)
        reader.member.pause()
        reader.poll()
        reader.member.resume()
        reader.read(b"flows-%d" % number)
    assert reader.values(0) == [b"good-1"]
    assert list(reader.member.halted) == [private_world.partition()]
    assert "offset 1 failed crc check, and kafka.on_unreadable is halt" in str(reader.member.halted)


def test_a_missing_codec_halts_the_partition_until_it_is_there(
    private_world: PrivateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = KafkaProducer(bootstrap_servers=private_world.bootstrap, compression_type="zstd")
    producer.send(private_world.topic, value=b"packed" * 100, partition=0)
    producer.close()
    reader = private_world.reader()
    with monkeypatch.context() as patched:
        patched.setattr("kafka.record.default_records.codecs.has_zstd", lambda: False)
        reader.until(lambda: bool(reader.member.halted))
        private_world.produce(b"other", partition=1)
        reader.read(b"other")
        assert "zstd" in reader.member.halted[private_world.partition()]
        assert not unread(reader)
    began = len(reader.changes)
    reader.member.resume_halted(private_world.partition())
    reader.read(b"packed" * 100)
    assert len(reader.changes) == began
