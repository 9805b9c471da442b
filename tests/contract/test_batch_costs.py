"""What a record batch costs: memory, and how much one poll returns, whatever producers have packed into it."""

import struct
import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from pipeline.kafka import decompression
from pipeline.kafka.record_batches import DamagedBatch, PartitionRecords, install
from pipeline.kafka.unpacking import POLL_BYTES, PollRoom
from pipeline.records import Reason, Stage, UnreadRecord

MEGABYTE = 1 << 20
PLACE = TopicPartition("packed", 0)


def encoded(codec: int, records: Iterable[tuple[int, bytes]]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for delta, value in records:
        builder.append(delta, 1_764_000_000_000 + delta, b"k", value, [("h", b"x")])
    return bytes(builder.build())


PACKED = pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=["gzip", "snappy", "lz4", "zstd"])


@PACKED
def test_a_record_that_decompresses_to_more_than_is_read_costs_its_place_and_no_memory(codec: int) -> None:
    bomb = b" " * (40 * MEGABYTE)
    data = encoded(codec, [(0, b"before"), (1, bomb), (2, b"between"), (3, bomb), (4, b"after"), (5, bomb)])
    del bomb
    taken: list[Any] = []
    room = PollRoom()
    bombed = PartitionRecords(0, PLACE, MemoryRecords(data), max_bytes=MEGABYTE, room=room)
    tracemalloc.start()
    try:
        while bombed:
            room.left = POLL_BYTES
            taken += bombed.take()
            assert room.left > -2 * decompression.PIECE
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [record.offset for record in taken] == list(range(6))
    assert [record.value for record in taken[::2]] == [b"before", b"between", b"after"]
    for record in taken[1::2]:
        assert isinstance(record, UnreadRecord)
        assert record.verdict is not None
        assert (record.verdict.reason, record.verdict.stage) == (Reason.TOO_LARGE, Stage.FETCH)
        assert record.timestamp == 1_764_000_000_000 + record.offset
    # Of snappy the batch itself is large: that codec makes one byte of at most twenty.
    assert peak < 3 * len(data) + 8 * MEGABYTE


@PACKED
def test_a_poll_ends_when_its_bytes_are_enough_and_the_next_goes_on_there(codec: int) -> None:
    values = [bytes([number]) * (3 * MEGABYTE) for number in range(20)]
    data = encoded(codec, enumerate(values[:9])) + rebased(encoded(codec, enumerate(values[9:])), 9)
    room = PollRoom()
    packed = PartitionRecords(2, PLACE, MemoryRecords(data), room=room)
    polls: list[list[Any]] = []
    while packed:
        room.left = POLL_BYTES
        polls.append(packed.take(100))
    assert [record.offset for poll in polls for record in poll] == list(range(2, 20))
    assert [record.value for poll in polls for record in poll] == values[2:]
    assert max(sum(len(record.value) for record in poll) for poll in polls) <= POLL_BYTES + 4 * MEGABYTE
    assert len(polls) > 2


def rebased(data: bytes, base: int) -> bytes:
    return struct.pack(">q", base) + data[8:]


@PACKED
@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    limit=st.integers(16, 500),
    piece=st.integers(1, 300),
    left=st.integers(1, 2_000),
    start=st.integers(0, 40),
)
def test_pieces_of_any_size_make_the_records_of_the_whole(
    codec: int, sizes: list[int], limit: int, piece: int, left: int, start: int
) -> None:
    values = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    data = encoded(codec, enumerate(values))
    whole = Fetcher.PartitionRecords(start, PLACE, MemoryRecords(data)).take()
    room = PollRoom()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decompression, "PIECE", piece)
        pieces = PartitionRecords(start, PLACE, MemoryRecords(data), max_bytes=limit, room=room)
        taken: list[Any] = []
        while pieces:
            room.left = left
            taken += pieces.take(7)
    assert [record.offset for record in taken] == [record.offset for record in whole]
    for own, theirs in zip(taken, whole, strict=True):
        assert own.timestamp == theirs.timestamp
        if isinstance(own, UnreadRecord):
            assert len(theirs.value) + 20 > limit
        else:
            assert (own.key, own.value, list(own.headers)) == (theirs.key, theirs.value, theirs.headers)
            assert len(own.value) < limit


def test_headers_cost_no_more_than_what_they_are_counted_for() -> None:
    builder = DefaultRecordBatchBuilder(2, 4, 0, -1, -1, -1, 1 << 30)
    few, many = [("", b"")] * 9_000, [("", b"")] * 20_000
    for offset in range(60):
        builder.append(offset, 1_764_000_000_000, None, b"v", many if offset == 30 else few)
    room = PollRoom()
    packed = PartitionRecords(0, PLACE, MemoryRecords(bytes(builder.build())), room=room)
    polls: list[list[Any]] = []
    while packed:
        room.left = POLL_BYTES
        polls.append(packed.take())
    taken = [record for poll in polls for record in poll]
    assert [record.offset for record in taken] == list(range(60))
    assert [record.offset for record in taken if isinstance(record, UnreadRecord)] == [30]
    assert {len(record.headers) for record in taken} == {9_000, 0}
    assert max(sum(len(record.headers) for record in poll) for poll in polls) * 64 <= POLL_BYTES


@pytest.mark.parametrize("magic", [0, 1])
def test_an_old_message_that_decompresses_to_too_much_is_damage_with_its_place(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, 1, 1 << 30)
    for offset in range(3):
        builder.append(offset, timestamp=1_764_000_000_000, key=b"k", value=b" " * (20 * MEGABYTE))
    # Brokers give a message that holds others the offset of the last one.
    bombed = PartitionRecords(0, PLACE, MemoryRecords(rebased(bytes(builder.build()), 2)))
    with pytest.raises(DamagedBatch, match="an old message holds more than") as caught:
        bombed.take()
    assert (caught.value.first, caught.value.behind) == (0, 3)


def test_polls_of_a_real_consumer_are_full_by_bytes_and_miss_nothing(kafka: Any, topic: Callable[..., str]) -> None:
    name = topic()
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, compression_type="gzip", max_request_size=1 << 28, linger_ms=100
    )
    for number in range(120):
        producer.send(name, value=b"%d" % (number % 10) * MEGABYTE, partition=0)
    producer.send(name, value=b" " * (90 * MEGABYTE), partition=0)
    producer.send(name, value=b"last", partition=0)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, group_id=None)
    install(consumer, 8 * MEGABYTE)
    partition = TopicPartition(name, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    taken: list[Any] = []
    deadline = time.monotonic() + 120
    try:
        while len(taken) < 122:
            assert time.monotonic() < deadline, len(taken)
            polled = [record for records in consumer.poll(timeout_ms=200).values() for record in records]
            assert sum(len(record.value or b"") for record in polled) <= POLL_BYTES + 2 * MEGABYTE
            taken += polled
    finally:
        consumer.close()
    assert [record.offset for record in taken] == list(range(122))
    assert isinstance(taken[120], UnreadRecord)
    assert [record.value for record in taken[:120]] == [b"%d" % (n % 10) * MEGABYTE for n in range(120)]
    assert taken[121].value == b"last"
