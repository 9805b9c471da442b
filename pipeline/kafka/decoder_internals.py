"""What reaches into kafka-python's private parts for a faster decoder, and a self-test of what that needs.

Owns the base class that `record_batches` builds on. The daemon can do without it: where `missing(NEEDED)` names a part,
the client's own decoder stays. Used on the thread that polls.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from kafka import IsolationLevel, KafkaConsumer, TopicPartition

from pipeline.kafka.internals import Need, lacks

try:
    from kafka.consumer.fetcher import Fetcher
    from kafka.record import MemoryRecords, MemoryRecordsBuilder
    from kafka.record.default_records import DefaultRecordBatch
    from kafka.record.legacy_records import LegacyRecordBatch

    CLIENT_DECODER: Final = Fetcher.PartitionRecords
except (ImportError, AttributeError) as error:
    raise ImportError(lacks([str(error)])) from error

NEEDED: Final = (
    Need(KafkaConsumer, "_fetcher"),
    Need(Fetcher, "PartitionRecords _append fetched_records", {"_append": (4, ())}),
    Need(
        CLIENT_DECODER,
        "_consume_aborted_transactions_up_to _contains_abort_marker _is_batch_aborted _next_inline_exception "
        "_maybe_raise_next_inline_exception _unpack_records aborted_producer_ids bytes_read check_crcs drain "
        "fetch_offset isolation_level leader_epoch next_fetch_offset record_iterator records_read take topic_partition",
        {"_unpack_records": (4, ()), "take": (1, ())},
    ),
    Need(DefaultRecordBatch, "_assert_has_codec _buffer _pos compression_type", {"_assert_has_codec": (1, ())}),
    Need(LegacyRecordBatch, "KEY_OFFSET_V0 KEY_OFFSET_V1 _read_key_value", {"_read_key_value": (1, ())}),
    Need(MemoryRecords, "has_next next_batch"),
)


class Decoder(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python is not typed
    """The client's decoder, which hands out a fetched chunk of one partition record by record, to be built upon."""

    def records_of(self, tp: TopicPartition, chunk: Any, *deserializers: Any) -> Iterator[Any]:
        """Yield the records of a chunk; the client's way."""
        records: Iterator[Any] = super()._unpack_records(tp, chunk, *deserializers)
        return records

    def take_until(self, last: Any, n: int | None) -> list[Any]:
        """Return the next `n` records, or those before `last`; what breaks behind a record, the next call raises."""
        self._maybe_raise_next_inline_exception()
        records: list[Any] = []
        try:
            for record in itertools.islice(self.record_iterator, n):
                if record is last:
                    break
                records.append(record)
        except Exception as error:
            if not records:
                raise
            self._next_inline_exception = error
        return records

    def is_hidden(self, batch: Any) -> bool:
        """Return whether a reader of committed data must not see the batch: aborted, or a transaction's marker."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Iterator[Any]:
        return self.records_of(tp, records, *deserializers)


def batch_bytes(batch: Any) -> tuple[int, memoryview]:
    """Return the number of a batch's codec, 0 for none, and its records as they came.

    Raises:
        UnsupportedCodecError: the codec is unknown, or its library is not at hand.
    """
    codec: int = batch.compression_type
    if codec:
        batch._assert_has_codec(codec)  # noqa: SLF001
    return codec, memoryview(batch._buffer)[batch._pos :]  # noqa: SLF001


def old_batch_bytes(batch: Any) -> tuple[int, memoryview]:
    """Return the same of a message of the formats before v2: with a codec it holds others."""
    codec: int = batch.compression_type
    if not codec:
        return 0, memoryview(b"")
    batch._assert_has_codec(codec)  # noqa: SLF001
    key_at = batch.KEY_OFFSET_V1 if batch.magic else batch.KEY_OFFSET_V0
    _, value = batch._read_key_value(key_at)  # noqa: SLF001
    return codec, memoryview(value or b"")


def limit_polls(consumer: Any, start: Callable[[], None], is_full: Callable[[], bool]) -> None:
    """Let a poll end where its bytes are enough, though its records are not: `start` begins one, `is_full` ends it.

    The client takes from chunk after chunk until it has as many records as it wants; a full poll counts as so many.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    fetched_records, append = fetcher.fetched_records, fetcher._append  # noqa: SLF001

    def fetched_in_bounds(*arguments: Any, **options: Any) -> Any:
        start()
        return fetched_records(*arguments, **options)

    def append_in_bounds(drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:
        taken: int = append(drained, part, max_records, update_offsets)
        return max_records if is_full() else taken

    fetcher.fetched_records, fetcher._append = fetched_in_bounds, append_in_bounds  # noqa: SLF001


def decoder(consumer: Any) -> Any:
    """Return the class that decodes for this consumer, None where this version has no such place."""
    return getattr(getattr(consumer, "_fetcher", None), "PartitionRecords", None)


def set_decoder(consumer: Any, decoder: Callable[..., Any]) -> None:
    """Let a class decode for this consumer."""
    consumer._fetcher.PartitionRecords = decoder  # noqa: SLF001


def encoded(records: Sequence[tuple[int, bytes | None, bytes | None, Sequence[Any]]], base: int) -> bytes:
    """Return a batch of records (timestamp, key, value, headers) as brokers send it, for the self-test."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 20, offset=base)
    for timestamp, key, value, headers in records:
        builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
    builder.close()
    return bytes(builder.buffer())


def fetched(data: bytes) -> Any:
    """Return bytes as the chunk that a decoder takes."""
    return MemoryRecords(data)
