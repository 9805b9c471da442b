"""The records of one batch, read out of its bytes within bounds of memory.

Owns the layout of a record, the window of decompressed bytes that records are read from, and what stands for a record
that is too large. Pure but for the room of a poll. Format: Kafka protocol guide, record batch v2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, UnsupportedCodecError

from pipeline.kafka.decoder_internals import batch_bytes
from pipeline.kafka.decompression import pieces
from pipeline.records import Reason, Stage, UnreadRecord, Unstored

POLL_BYTES: Final = 16 << 20
"""Bytes of records after which a poll is full, however few records they are."""

MAX_RECORD_BYTES: Final = 64 << 20
"""Largest record that is read where nothing else is said."""

MAX_HEADERS: Final = 10_000
"""Most headers of a record that is read; each takes two bytes in Kafka, and a hundred here."""

_HEADER_OBJECTS: Final = 100
_MORE: Final = 0x80
_LOG_APPEND_TIME: Final = 1
_HEAD: Final = 32
"""Bytes that surely hold the length, attributes, timestamp and offset of a record."""

_FAULTS_OF_THIS_HOST: Final = (UnsupportedCodecError, ImportError, NotImplementedError, MemoryError)
"""Errors caused by this host (missing codec, memory), not by the batch: halt, never dead-letter."""


class KafkaRecord(NamedTuple):
    """A Kafka message; `records.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


FULL: Final = KafkaRecord("", -1, -1, -1, None, None, ())
"""Comes between two records where the poll has no more room. By its offset, the client drops it as long as it drops the
records before the one that it asked for."""


@dataclass(slots=True)
class PollRoom:
    """How many bytes of records the poll in progress may still take. One for each consumer, used where it polls."""

    left: int = POLL_BYTES


class _Window:
    """The part of a batch's bytes that is held: from the next record on, with more behind it when asked."""

    def __init__(self, batch: Any, room: PollRoom) -> None:
        codec, packed = batch_bytes(batch)
        self._pieces = pieces(codec, packed) if codec else iter([bytes(packed)])
        self._room = room
        self.ended = False

    def after(self, data: bytes, pos: int, wanted: int) -> bytes:
        """Return the bytes from a position on, at least so many of them.

        Raises:
            CorruptRecordError: there are fewer, or they cannot be decompressed.
        """
        held = [data[pos:]]
        have = len(held[0])
        while have < wanted and not self.ended:
            held.append(self.piece())
            have += len(held[-1])
        if have < wanted:
            raise CorruptRecordError(f"a record lacks {wanted - have} bytes")
        return b"".join(held)

    def end(self, data: bytes, pos: int) -> None:
        """Look that nothing is behind the last record; not behind one that was passed over.

        Raises:
            CorruptRecordError: there is something.
        """
        left = len(data) - pos
        while not left and not self.ended:
            left = len(self.piece())
        if left > 0:
            raise CorruptRecordError(f"{left} bytes or more after the last record")

    def piece(self) -> bytes:
        """Return the next piece; an empty one at the end.

        Raises:
            CorruptRecordError: it cannot be decompressed.
            Exception: its codec is not at hand here.
        """
        try:
            piece = next(self._pieces, None)
        except _FAULTS_OF_THIS_HOST:
            raise
        except Exception as error:
            raise CorruptRecordError(f"{type(error).__name__}: {error}") from error
        if piece is None:
            self.ended = True
            return b""
        self._room.left -= len(piece)
        return piece


def unpacked(
    tp: TopicPartition, batch: Any, max_bytes: int = MAX_RECORD_BYTES, room: PollRoom | None = None
) -> Iterator[KafkaRecord | UnreadRecord]:
    """Yield the records of a plain v2 batch; of one larger than `max_bytes` its place. Hot path.

    What it takes is subtracted from `room`. Where that is used up by a record that is passed over, it yields `FULL`.

    Raises:
        CorruptRecordError: it cannot be decompressed, or lengths do not add up.
        IndexError: it ends within a record.
        Exception: its codec is not at hand here.
    """
    topic, partition, base = tp.topic, tp.partition, batch.base_offset
    appended = batch.max_timestamp if batch.timestamp_type == _LOG_APPEND_TIME else None
    first = batch.first_timestamp
    room = room or PollRoom()
    window = _Window(batch, room)
    data, pos = b"", 0
    for _ in range(batch.records_count):
        while pos + _HEAD > len(data) and not window.ended:
            if room.left <= 0:
                yield FULL
            # Where a record was passed over, the position lies behind what is held.
            data, pos = data[pos:] + window.piece(), max(pos - len(data), 0)
        size, start = _varint(data, pos)
        end = start + size
        delta, place = _varint(data, start + 1)
        number, place = _varint(data, place)
        timestamp = first + delta if appended is None else appended
        if size > max_bytes:
            yield _too_large(tp, base + number, timestamp, f"{size} bytes, at most {max_bytes} are read")
            pos = end
            continue
        if end > len(data):
            data, place, end = window.after(data, place, end - place), 0, end - place
        key, pos = _bytes(data, place)
        value, pos = _bytes(data, pos)
        headers, pos = _headers(data, pos, end) if data[pos] else ((), pos + 1)
        if headers:
            room.left -= len(headers) * _HEADER_OBJECTS
        if pos != end:
            raise CorruptRecordError(f"offset {base + number}: {pos - end} bytes beyond the record's end")
        yield (
            KafkaRecord(topic, partition, base + number, timestamp, key, value, headers)
            if headers is not None
            else _too_large(tp, base + number, timestamp, f"more than the {MAX_HEADERS} headers that are read")
        )
    window.end(data, pos)


def _too_large(tp: TopicPartition, offset: int, timestamp: int, detail: str) -> UnreadRecord:
    verdict = Unstored(Reason.TOO_LARGE, Stage.FETCH, f"the record has {detail}")
    return UnreadRecord(tp.topic, tp.partition, offset, timestamp, verdict=verdict)


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


def _headers(data: bytes, pos: int, end: int) -> tuple[tuple[tuple[str, bytes], ...] | None, int]:
    """Return the headers and the position behind them; None where they are too many to be read."""
    count, pos = _varint(data, pos)
    if count > MAX_HEADERS:
        return None, end
    headers = []
    for _ in range(count):
        name, pos = _bytes(data, pos)
        value, pos = _bytes(data, pos)
        # A name that is no text is spelled somehow: the record is worth more than it.
        headers.append(((name or b"").decode(errors="replace"), value or b""))
    return tuple(headers), pos
