"""The daemon's decoder of record batches against the client's own, over what real Kafka keeps; damage, too."""

import itertools
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from pipeline.kafka import record_batches
from pipeline.kafka.record_batches import PartitionRecords, install

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
PLACE = TopicPartition("unpacked", 0)


def read(
    bootstrap: str, topic: str, unpacker: type, start: int = 0, isolation: str = "read_committed", at_once: int = 7
) -> tuple[list[tuple[Any, ...]], int]:
    """Return every record of partition 0 from an offset on, as plain values, and the position behind them."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level=isolation, group_id=None
    )
    consumer._fetcher.PartitionRecords = unpacker
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, start)
    end = consumer.end_offsets([partition])[partition]
    taken: list[tuple[Any, ...]] = []
    deadline = time.monotonic() + 30
    try:
        while consumer.position(partition) < end:
            assert time.monotonic() < deadline, (taken, consumer.position(partition), end)
            for records in consumer.poll(timeout_ms=200, max_records=at_once).values():
                taken.extend(map(plain, records))
        return taken, consumer.position(partition)
    finally:
        consumer.close()


def plain(record: Any) -> tuple[Any, ...]:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers


def send(producer: KafkaProducer, topic: str, values: Iterable[bytes | None], **more: Any) -> None:
    for number, value in enumerate(values):
        key = None if number % 3 == 0 and value is not None else b"key-%d" % number
        headers = [("trace", b"%d" % number), ("trace", b""), ("überschrift", b"\xff")][: number % 4]
        producer.send(topic, key=key, value=value, headers=headers, partition=0, **more)


VALUES = (b"", b"{}", None, b"x" * 70_000, b"y", "ü".encode() * 300, None, b"last")


def send_transactions(bootstrap: str, name: str) -> None:
    """Two writers whose committed and aborted transactions lie between each other."""
    writers = [
        KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{name}-{number}", compression_type="lz4")
        for number in range(2)
    ]
    for writer in writers:
        writer.init_transactions()
    for outcome in ("commit", "abort", "abort", "commit"):
        for writer in writers:
            writer.begin_transaction()
        for part in range(2):
            for writer in writers:
                send(writer, name, (outcome.encode(), b"%d" % part, b"z" * 900))
                writer.flush()
        for writer in writers:
            getattr(writer, f"{outcome}_transaction")()
    for writer in writers:
        writer.close()


@pytest.fixture(params=["CreateTime", "LogAppendTime"])
def everything(request: pytest.FixtureRequest, kafka: Any, topic: Callable[..., str]) -> tuple[str, str]:
    """A topic with batches of every kind: all codecs, idempotent and not, committed, aborted, interleaved."""
    name = topic(config={"message.timestamp.type": request.param})
    for codec, idempotent in itertools.product(CODECS, (True, False)):
        producer = KafkaProducer(
            bootstrap_servers=kafka.bootstrap, compression_type=codec, enable_idempotence=idempotent, linger_ms=20
        )
        send(producer, name, VALUES, timestamp_ms=1_764_000_000_123)
        producer.close()
    send_transactions(kafka.bootstrap, name)
    return kafka.bootstrap, name


def test_reads_what_the_clients_own_decoder_reads(everything: tuple[str, str]) -> None:
    for isolation in ("read_committed", "read_uncommitted"):
        own = read(*everything, PartitionRecords, isolation=isolation)
        theirs = read(*everything, Fetcher.PartitionRecords, isolation=isolation)
        assert own == theirs
        values = [record[5] for record in own[0]]
        assert (b"abort" in values) is (isolation == "read_uncommitted")
        assert len(values) > 10 * len(VALUES)


def test_a_fetch_into_the_middle_of_a_batch_begins_there(everything: tuple[str, str]) -> None:
    for start in (3, 11, 37):
        own = read(*everything, PartitionRecords, start, at_once=1_000)
        assert own == read(*everything, Fetcher.PartitionRecords, start, at_once=1_000)
        assert own[0][0][2] == start


def test_holes_that_compaction_left_are_no_obstacle(kafka_factory: Callable[..., Any]) -> None:
    broker = kafka_factory({"log.cleaner.backoff.ms": "100"})
    config = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic("compacted", 1, 1, topic_configs=config)])
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=50)
    deadline = time.monotonic() + 60
    while True:
        for number in range(10):
            producer.send("compacted", key=b"%d" % (number % 3), value=b"v%d" % number)
        producer.flush()
        time.sleep(0.3)
        theirs = read(broker.bootstrap, "compacted", Fetcher.PartitionRecords)
        if len(theirs[0]) < theirs[1] / 2:
            break
        assert time.monotonic() < deadline, "the log was never compacted"
    own = read(broker.bootstrap, "compacted", PartitionRecords)
    producer.close()
    admin.close()
    assert set(own[0]) <= set(theirs[0])
    assert own[1] >= theirs[1]


def batch(base: int, records: Iterable[tuple[int, bytes]], last_delta: int | None = None, codec: int = 0) -> bytes:
    """Build a v2 batch; `last_delta` may lie behind the last record, as compaction leaves it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for delta, value in records:
        builder.append(delta, 1_764_000_000_000 + delta, b"k", value, [])
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    if last_delta is not None:
        struct.pack_into(">i", data, 23, last_delta)
    struct.pack_into(">I", data, 17, calc_crc32c(memoryview(bytes(data))[21:]))
    return bytes(data)


def chunk(data: bytes, start: int = 0, unpacker: type = PartitionRecords) -> Any:
    return unpacker(start, PLACE, MemoryRecords(data))


HOLES = batch(10, [(0, b"a"), (3, b"b"), (7, b"c")], last_delta=9) + batch(20, [(2, b"d")], last_delta=5)


@pytest.mark.parametrize("start", [10, 12, 17, 18, 22, 24])
def test_holes_in_a_batch_and_behind_its_last_record(start: int) -> None:
    own, theirs = chunk(HOLES, start), chunk(HOLES, start, Fetcher.PartitionRecords)
    assert [record.offset for record in own.take()] == [offset for offset in (10, 13, 17, 22) if offset >= start]
    theirs.take()
    assert own.next_fetch_offset == theirs.next_fetch_offset == 26


def test_what_is_taken_in_pieces_is_what_is_taken_at_once() -> None:
    whole, pieces = chunk(HOLES), chunk(HOLES)
    taken: list[Any] = []
    while pieces:
        piece = pieces.take(1)
        taken += piece
        assert not piece or pieces.next_fetch_offset > piece[-1].offset
    assert taken == whole.take()


def damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def test_a_header_name_that_is_no_text_costs_no_record() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for delta, headers in enumerate(([], [("hh", b"x")], [])):
        builder.append(delta, 1_764_000_000_000, b"k", b"v", headers)
    data = bytearray(builder.build())
    place = data.index(b"hh")
    data[place] = 0xE9
    struct.pack_into(">I", data, 17, calc_crc32c(memoryview(bytes(data))[21:]))
    assert [record.headers for record in chunk(bytes(data)).take()] == [(), (("\ufffdh", b"x"),), ()]


@pytest.mark.parametrize("codec", [0, 3])
def test_a_corrupt_batch_raises_its_error_at_every_call_after_what_came_before(codec: int) -> None:
    good, bad = batch(0, [(0, b"a"), (1, b"b")], codec=codec), batch(2, [(0, b"c")], codec=codec)
    broken = chunk(good + damaged(bad, len(bad) - 3) + batch(3, [(0, b"d")]))
    assert [record.value for record in broken.take(10)] == [b"a", b"b"]
    errors = []
    for _ in range(3):
        with pytest.raises(CorruptRecordError, match="at offset 2 failed crc check") as caught:
            broken.take(10)
        errors.append(caught.value)
    assert errors[0] is errors[1] is errors[2]
    assert repr(PLACE) in str(errors[0])
    assert broken.next_fetch_offset == 2


def test_lengths_that_do_not_add_up_are_an_error_that_names_the_partition() -> None:
    data = bytearray(batch(0, [(0, b"abc"), (1, b"def")]))
    place = data.index(b"abc") - 1
    data[place] += 2
    struct.pack_into(">I", data, 17, calc_crc32c(memoryview(bytes(data))[21:]))
    broken = chunk(bytes(data))
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="TopicPartition"):
            broken.take()


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 7])
def test_what_no_codec_can_read_is_an_error_that_names_the_partition(codec: int) -> None:
    data = bytearray(batch(5, [(0, b"abc"), (1, b"def")]))
    struct.pack_into(">h", data, 21, codec)
    struct.pack_into(">I", data, 17, calc_crc32c(memoryview(bytes(data))[21:]))
    broken = chunk(bytes(data))
    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="TopicPartition"):
            broken.take()


def test_a_client_that_reads_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        _fetcher = Fetcher.__new__(Fetcher)

    consumer = Consumer()
    install(consumer)
    assert consumer._fetcher.PartitionRecords.func is PartitionRecords
    consumer._fetcher.PartitionRecords = Fetcher.PartitionRecords
    monkeypatch.setattr(record_batches, "_read", lambda unpacker: unpacker)
    install(consumer)
    assert consumer._fetcher.PartitionRecords is Fetcher.PartitionRecords
