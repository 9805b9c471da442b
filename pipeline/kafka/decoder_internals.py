"""What reaches into kafka-python's private parts for a faster decoder, and a self-test of what that needs.

Owns the base class that `record_batches` builds on. The daemon can do without it: where `missing(NEEDED)` names a part,
the client's own decoder stays. Used on the thread that polls.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kafka import IsolationLevel, KafkaConsumer, TopicPartition

from pipeline.kafka.internals import Need, lacks

try:
    from kafka.consumer.fetcher import Fetcher
    from kafka.record import MemoryRecords, MemoryRecordsBuilder
    from kafka.record.default_records import DefaultRecordBatch

    CLIENT_DECODER: Final = Fetcher.PartitionRecords
except (ImportError, AttributeError) as error:
    raise ImportError(lacks([str(error)])) from error

NEEDED: Final = (
    Need(KafkaConsumer, "_fetcher"),
    Need(Fetcher, "PartitionRecords"),
    Need(
        CLIENT_DECODER,
        "_consume_aborted_transactions_up_to _contains_abort_marker _is_batch_aborted _unpack_records "
        "aborted_producer_ids bytes_read check_crcs drain fetch_offset isolation_level leader_epoch next_fetch_offset "
        "records_read take topic_partition",
        {"_unpack_records": (4, ()), "take": (1, ())},
    ),
    Need(DefaultRecordBatch, "_buffer _maybe_uncompress _pos"),
    Need(MemoryRecords, "has_next next_batch"),
)


class Decoder(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python is not typed
    """The client's decoder, which hands out a fetched chunk of one partition record by record, to be built upon."""

    def records_of(self, tp: TopicPartition, chunk: Any, *deserializers: Any) -> Iterator[Any]:
        """Yield the records of a chunk; the client's way."""
        records: Iterator[Any] = super()._unpack_records(tp, chunk, *deserializers)
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


def uncompressed(batch: Any) -> tuple[bytes, int]:
    """Return the bytes of a batch by the client's own decompression, and where its records begin.

    Raises:
        Exception: codecs raise whatever they like.
    """
    batch._maybe_uncompress()  # noqa: SLF001
    return bytes(batch._buffer), batch._pos  # noqa: SLF001


def decoder(consumer: Any) -> Any:
    """Return the class that decodes for this consumer, None where this version has no such place."""
    return getattr(getattr(consumer, "_fetcher", None), "PartitionRecords", None)


def set_decoder(consumer: Any, decoder: type) -> None:
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
