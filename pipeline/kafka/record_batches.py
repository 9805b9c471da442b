"""Decodes Kafka's record batches twice as fast as the client does; compared with its decoder at every start.

Owns the class that turns a fetched chunk into records. It reads the varints in place, makes records of the seven fields
that are used (a null header is an empty one), says where a damaged batch ends, and raises the same error again after
one, where the client's decoder loops without end. Decompression, checksums, aborted transactions and old message
formats stay the client's, behind `decoder_internals`. Format: Kafka protocol guide, record batch v2.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import structlog
from kafka import TopicPartition
from kafka.errors import CorruptRecordError, UnsupportedCodecError

from pipeline.kafka import decoder_internals
from pipeline.kafka.decoder_internals import CLIENT_DECODER, Decoder, encoded, fetched, uncompressed
from pipeline.kafka.internals import lacks, missing

log = structlog.get_logger(__name__)

_MAGIC_V2: Final = 2
_MORE: Final = 0x80
_LOG_APPEND_TIME: Final = 1
_FAULTS_OF_THIS_HOST: Final = (UnsupportedCodecError, ImportError, NotImplementedError, MemoryError)
"""Errors caused by this host (missing codec, memory), not by the batch: halt, never dead-letter."""


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


class KafkaRecord(NamedTuple):
    """A Kafka message; `records.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class PartitionRecords(Decoder):
    """A fetched chunk of one partition, handed out record by record. Used on the polling thread."""

    _failure: Exception | None = None
    _batch: Any = None

    def __init__(self, fetch_offset: int, tp: TopicPartition, records: Any, *arguments: Any, **options: Any) -> None:
        """Wrap a chunk; one without a batch is over at once.

        The client would take the position from it, with no leader epoch, and with that lose the means to notice that
        the log was truncated.
        """
        super().__init__(fetch_offset, tp, records, *arguments, **options)
        if not records.has_next():
            self.drain()

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next `n` records; where the chunk is damaged, raise the same error at every call.

        A damaged chunk is over for the client, which then asks for the same offset again.

        Raises:
            KafkaError: what follows cannot be read; what came before was returned.
        """
        if self._failure is not None:
            raise self._failure
        try:
            records: list[Any] = super().take(n)
        except Exception as error:  # noqa: BLE001 - codecs raise whatever they like
            self._failure = self._named(error)
            self.drain()
            raise self._failure from (None if self._failure is error else error)
        return records

    def _named(self, error: Exception) -> Exception:
        """Return an error that names the partition that cannot be read on, and the offsets if they are known."""
        text, place = str(error), str(self.topic_partition)
        if place not in text:
            text = f"{place} at offset {self.next_fetch_offset}: {type(error).__name__}: {error}"
        if isinstance(error, DamagedBatch):
            return error
        if isinstance(error, CorruptRecordError) and self._batch is not None:
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
        """Yield the records of the chunk; message formats before v2 take the client's way."""
        while (batch := chunk.next_batch()) is not None:
            if batch.magic != _MAGIC_V2:
                yield from super().records_of(tp, _Chain(batch, chunk), *deserializers)
                return
            if self.check_crcs and not batch.validate_crc():
                raise self._damaged(batch, chunk)
            self._batch = batch
            self.leader_epoch = batch.leader_epoch
            if not self.is_hidden(batch):
                for record in unpacked(tp, batch):
                    self.next_fetch_offset = record.offset + 1
                    yield record
                self.records_read += batch.records_count
                self.bytes_read += batch.size_in_bytes
            self.next_fetch_offset = batch.next_offset
            self._batch = None
        self.drain()


class _Chain:
    """A chunk whose next batch was already taken out."""

    def __init__(self, first: Any, rest: Any) -> None:
        self._first = first
        self._rest = rest

    def next_batch(self) -> Any:
        """Return the batch that was taken out, then the others."""
        first, self._first = self._first, None
        return first if first is not None else self._rest.next_batch()


def unpacked(tp: TopicPartition, batch: Any) -> Iterator[KafkaRecord]:
    """Yield the records of a plain v2 batch.

    Raises:
        CorruptRecordError: it cannot be decompressed, or lengths do not add up.
        Exception: its codec is not at hand here.
    """
    try:
        data, pos = uncompressed(batch)
    except _FAULTS_OF_THIS_HOST:
        raise
    except Exception as error:
        raise CorruptRecordError(f"{tp} at offset {batch.base_offset}: {type(error).__name__}: {error}") from error
    topic, partition, base = tp.topic, tp.partition, batch.base_offset
    appended = batch.max_timestamp if batch.timestamp_type == _LOG_APPEND_TIME else None
    first = batch.first_timestamp
    try:
        for _ in range(batch.records_count):
            size, pos = _varint(data, pos)
            end = pos + size
            delta, pos = _varint(data, pos + 1)
            number, pos = _varint(data, pos)
            key, pos = _bytes(data, pos)
            value, pos = _bytes(data, pos)
            headers: Sequence[tuple[str, bytes]] = ()
            if data[pos]:
                headers, pos = _headers(data, pos)
            else:
                pos += 1
            if pos != end:
                raise CorruptRecordError(f"{tp} offset {base + number}: {pos - end} bytes beyond the record's end")
            timestamp = first + delta if appended is None else appended
            yield KafkaRecord(topic, partition, base + number, timestamp, key, value, headers)
    except (IndexError, UnicodeDecodeError) as error:
        raise CorruptRecordError(f"{tp} after offset {base}: broken record: {error}") from error
    if pos != len(data):
        raise CorruptRecordError(f"{tp} at offset {base}: {len(data) - pos} bytes after the last record")


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return a zigzag varint and the position behind it."""
    byte = data[pos]
    pos += 1
    if byte < _MORE:
        return byte >> 1 ^ -(byte & 1), pos
    number, shift = byte & 0x7F, 7
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        if byte < _MORE:
            return number >> 1 ^ -(number & 1), pos
        shift += 7


def _bytes(data: bytes, pos: int) -> tuple[bytes | None, int]:
    size, pos = _varint(data, pos)
    if size < 0:
        return None, pos
    end = pos + size
    return data[pos:end], end


def _headers(data: bytes, pos: int) -> tuple[tuple[tuple[str, bytes], ...], int]:
    count, pos = _varint(data, pos)
    headers = []
    for _ in range(count):
        name, pos = _bytes(data, pos)
        value, pos = _bytes(data, pos)
        # A name that is no text is spelled somehow: the record is worth more than it.
        headers.append(((name or b"").decode(errors="replace"), value or b""))
    return tuple(headers), pos


def install(consumer: Any) -> None:
    """Let `PartitionRecords` decode for this consumer, if it reads what the client's own decoder reads."""
    fault = _fault(consumer)
    if fault is None:
        decoder_internals.set_decoder(consumer, PartitionRecords)
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
