"""Decodes Kafka's record batches twice as fast as the client does; compared with its decoder at every start.

Owns the class that turns a fetched chunk into records, by `unpacking`: seven fields of each are used (a null header is
an empty one). It lets a poll end after `POLL_BYTES`, says where a damaged batch ends, and raises the same error again
after one, where the client's decoder loops without end. Checksums, aborted transactions and old message formats stay
the client's, behind `decoder_internals`.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import CorruptRecordError

from pipeline.kafka import decoder_internals
from pipeline.kafka.decoder_internals import CLIENT_DECODER, Decoder, encoded, fetched, old_batch_bytes
from pipeline.kafka.decompression import pieces
from pipeline.kafka.internals import lacks, missing
from pipeline.kafka.unpacking import FULL, MAX_RECORD_BYTES, POLL_BYTES, PollRoom, unpacked

log = structlog.get_logger(__name__)

_MAGIC_V2: Final = 2

MAX_OLD_BYTES: Final = 32 << 20
"""Bytes that a message of an old format may become: the client's decoder holds all of them at once."""


class DamagedBatch(CorruptRecordError):  # type: ignore[misc]  # kafka-python is not typed
    """A batch that is damaged: what it holds from `first` on is lost for every reader.

    Attributes:
        partition: whose batch it is.
        first: the first offset that cannot be read.
        behind: the next offset that can be, None where the chunk does not show it.
        claimed: the end that the batch states; its checksum covers that too, so it proves nothing by itself.
    """

    def __init__(self, partition: TopicPartition, first: int, behind: int | None, claimed: int, detail: str) -> None:
        super().__init__(detail)
        self.partition = partition
        self.first = first
        self.behind = behind
        self.claimed = claimed


class PartitionRecords(Decoder):
    """A fetched chunk of one partition, handed out record by record. Used on the polling thread."""

    _failure: Exception | None = None
    _batch: Any = None

    def __init__(
        self,
        fetch_offset: int,
        tp: TopicPartition,
        records: Any,
        *arguments: Any,
        max_bytes: int = MAX_RECORD_BYTES,
        room: PollRoom | None = None,
        **options: Any,
    ) -> None:
        """Wrap a chunk; one without a batch is over at once.

        The client would take the position from it, with no leader epoch, and with that lose the means to notice that
        the log was truncated.

        Args:
            fetch_offset: of the first record that is wanted.
            tp: whose chunk it is.
            records: the chunk.
            arguments: of the client's decoder.
            max_bytes: of a larger record only the place is handed out.
            room: of the consumer's polls.
            options: of the client's decoder.
        """
        self._max_bytes = max_bytes
        self._room = room or PollRoom(sys.maxsize)
        super().__init__(fetch_offset, tp, records, *arguments, **options)
        if not records.has_next():
            self.drain()

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next `n` records, or fewer that fill the poll; at damage, raise the same error at every call.

        A damaged chunk is over for the client, which then asks for the same offset again.

        Raises:
            KafkaError: what follows cannot be read; what came before was returned.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self.take_until(FULL, n)
        except Exception as error:  # noqa: BLE001 - codecs raise whatever they like
            self._failure = self._named(error)
            self.drain()
            raise self._failure from (None if self._failure is error else error)

    def _named(self, error: Exception) -> Exception:
        """Return an error that names the partition that cannot be read on, and the offsets if they are known."""
        text, place = str(error), str(self.topic_partition)
        if place not in text:
            text = f"{place} at offset {self.next_fetch_offset}: {type(error).__name__}: {error}"
        if isinstance(error, DamagedBatch):
            return error
        if isinstance(error, CorruptRecordError | IndexError) and self._batch is not None:
            # The checksum is right: the end that the batch states is the one that the producer wrote.
            behind = self._batch.next_offset
            return DamagedBatch(self.topic_partition, self._unread_from(0), behind, behind, text)
        named: Exception = error if place in str(error) else CorruptRecordError(text)
        return named

    def _unread_from(self, base: int) -> int:
        offset: int = max(base, self.next_fetch_offset, self.fetch_offset)
        return offset

    def _damaged(self, batch: Any, rest: Any) -> DamagedBatch:
        """Return what is known of a batch whose checksum is wrong; only a sound batch behind it proves where it ends.

        Of the whole header, base offset and length alone lie outside the checksum, and the length led to `rest`.
        """
        first, behind = self._unread_from(batch.base_offset), None
        while behind is None and (following := rest.next_batch()) is not None:
            if following.magic == _MAGIC_V2 and following.base_offset > first and following.validate_crc():
                behind = following.base_offset
        text = f"Record batch for partition {self.topic_partition} at offset {batch.base_offset} failed crc check"
        return DamagedBatch(self.topic_partition, first, behind, batch.next_offset, text)

    def records_of(self, tp: TopicPartition, chunk: Any, *deserializers: Any) -> Iterator[Any]:
        """Yield the records of the chunk, and `FULL`; message formats before v2 take the client's way."""
        room = self._room
        while (batch := chunk.next_batch()) is not None:
            if batch.magic != _MAGIC_V2:
                yield from super().records_of(tp, _Chain(tp, batch, chunk, self._unread_from(0)), *deserializers)
                return
            if self.check_crcs and not batch.validate_crc():
                raise self._damaged(batch, chunk)
            self._batch = batch
            self.leader_epoch = batch.leader_epoch
            if not self.is_hidden(batch):
                for record in unpacked(tp, batch, self._max_bytes, room):
                    if record is not FULL:
                        self.next_fetch_offset = record.offset + 1
                    yield record
                    if room.left <= 0:
                        yield FULL
                self.records_read += batch.records_count
                self.bytes_read += batch.size_in_bytes
            self.next_fetch_offset = batch.next_offset
            self._batch = None
        self.drain()


class _Chain:
    """A chunk of old messages whose first was already taken out; one that becomes too much is damage."""

    def __init__(self, tp: TopicPartition, first: Any, rest: Any, start: int) -> None:
        self._tp = tp
        self._first = first
        self._rest = rest
        self._start = start

    def next_batch(self) -> Any:
        """Return the message that was taken out, then the others.

        Raises:
            DamagedBatch: it holds more than `MAX_OLD_BYTES`.
        """
        batch, self._first = self._first or self._rest.next_batch(), None
        if batch is not None and batch.magic != _MAGIC_V2:
            behind = batch.base_offset + 1
            if _is_too_much(batch):
                text = f"{self._tp} at offset {self._start}: an old message holds more than {MAX_OLD_BYTES} bytes"
                raise DamagedBatch(self._tp, self._start, behind, behind, text)
            self._start = max(self._start, behind)
        return batch


def _is_too_much(batch: Any) -> bool:
    codec, packed = old_batch_bytes(batch)
    left = MAX_OLD_BYTES
    for piece in pieces(codec, packed) if codec else ():
        left -= len(piece)
        if left < 0:
            return True
    return False


def install(consumer: Any, max_bytes: int = MAX_RECORD_BYTES) -> None:
    """Let `PartitionRecords` decode for this consumer, if it reads what the client's own decoder reads.

    Args:
        consumer: a consumer that was not polled yet.
        max_bytes: of a larger record only the place is read.
    """
    fault = _fault(consumer)
    if fault is None:
        room = PollRoom()
        decoder_internals.set_decoder(consumer, partial(PartitionRecords, max_bytes=max_bytes, room=room))
        decoder_internals.limit_polls(consumer, partial(setattr, room, "left", POLL_BYTES), lambda: room.left <= 0)
    else:
        log.warning("decoder_fallback", message="records are decoded by the client's own, slower decoder", cause=fault)


def _fault(consumer: Any) -> str | None:
    if parts := missing(decoder_internals.NEEDED):
        return lacks(parts)
    if decoder_internals.decoder(consumer) is not CLIENT_DECODER:
        return lacks(["Fetcher.PartitionRecords as the decoder of a consumer"])
    try:
        return None if _read(PartitionRecords) == _read(CLIENT_DECODER) else "the self-test differs"
    except Exception as error:  # noqa: BLE001 - whatever a changed client does, its own decoder still works
        return f"the self-test failed: {error}"


def _read(decoder: Any) -> list[tuple[Any, ...]]:
    """Return what a decoder makes of two batches with everything that occurs in a record."""
    samples: tuple[Any, ...] = (
        (1_764_000_000_000, None, b"v", []),
        (1_764_001_000_000, b"", None, [("h", b"1"), ("h", None), ("é", b"")]),
        (1_764_002_000_000, b"k" * 300, b"v" * 70_000, []),
    )
    chunk = decoder(8, TopicPartition("self-test", 3), fetched(encoded(samples, 7) * 2))
    taken: list[tuple[Any, ...]] = []
    for record in (*chunk.take(1), *chunk.take()):
        headers = tuple((name, value or b"") for name, value in record.headers)
        place = (record.topic, record.partition, record.offset, record.timestamp)
        taken.append((*place, record.key, record.value, headers))
    return [*taken, (chunk.next_fetch_offset, chunk.leader_epoch)]
