"""The dead-letter queue: rejected records, byte for byte, with where they came from and why.

Owns the headers and what is done when a record does not fit. Only the writer's thread calls it. The producer is not
idempotent: after one record that the broker rejects, kafka-python's idempotent producer never sends again. Readers
recognize repeats by `runstep-topic`, `runstep-partition` and `runstep-offset`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from pipeline import __version__
from pipeline.config import KafkaSettings
from pipeline.errors import DeadLetterUnavailable, SourceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.records import InvalidRecord
from pipeline.redaction import redact

MAX_BLOCK_MS: Final = 10_000
CLOSE_TIMEOUT_S: Final = 2.0
MAX_DETAIL_CHARS: Final = 500
MAX_ATTEMPT_DIGITS: Final = 6
ATTEMPT: Final = "runstep-attempt"
REPLAY_TOPIC: Final = "runstep-replay-topic"
REPLAY_PARTITION: Final = "runstep-replay-partition"
REPLAY_OFFSET: Final = "runstep-replay-offset"
_PREFIX: Final = "runstep-"
_TOPIC_NAME: Final = re.compile(rb"[A-Za-z0-9._-]{1,249}")
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
Headers: TypeAlias = list[tuple[str, bytes]]


class Place(NamedTuple):
    """Where a record was before it was replayed."""

    topic: str
    partition: int
    offset: int


KEPT_VALUE_BYTES: Final = (900_000, 100_000, 10_000, 0)
"""Bytes of the value that are kept where the topic accepts no more, tried in turn; the first fits the default limit.
At the very end the key is left out, too: a record that fits in no way would stop everything behind it."""


def headers(dead_letter: InvalidRecord) -> Headers:
    """Return the record's own headers and the daemon's behind them; those of an earlier dead-lettering are replaced."""
    record = dead_letter.record
    replayed_from = replay_origin(record.headers)
    own = {
        "runstep-reason": dead_letter.reason.value,
        "runstep-stage": dead_letter.stage.value,
        "runstep-detail": redact(dead_letter.detail)[:MAX_DETAIL_CHARS],
        "runstep-topic": record.topic,
        "runstep-partition": str(record.partition),
        "runstep-offset": str(record.offset),
        "runstep-timestamp": str(record.timestamp),
        ATTEMPT: str(1 if replayed_from is None else _next_attempt(record.headers)),
        "runstep-version": __version__,
    }
    kept = [(name, value or b"") for name, value in record.headers if not name.startswith(_PREFIX)]
    origin = [] if replayed_from is None else replay_headers(replayed_from)
    return kept + [(name, text.encode()) for name, text in own.items()] + origin


def replay_origin(named: Sequence[tuple[str, bytes | None]]) -> Place | None:
    """Return where the headers say that a record was replayed from; None where they do not say it as `dlq replay` does.

    Any producer can write such headers. `runstep dlq replay` compares them with the markers of its own replays.
    """
    said = {name: value or b"" for name, value in named}
    topic, partition, offset = (said.get(name, b"") for name in (REPLAY_TOPIC, REPLAY_PARTITION, REPLAY_OFFSET))
    if _TOPIC_NAME.fullmatch(topic) and _NUMBER.fullmatch(partition) and _NUMBER.fullmatch(offset):
        return Place(topic.decode(), int(partition), int(offset))
    return None


def replay_headers(place: Place) -> Headers:
    """Return the headers from which `replay_origin` reads the place."""
    names = (REPLAY_TOPIC, REPLAY_PARTITION, REPLAY_OFFSET)
    return [(name, str(part).encode()) for name, part in zip(names, place, strict=True)]


def whole(dead_letter: InvalidRecord) -> tuple[bytes | None, Headers]:
    """Return the value and all headers of a dead letter that is not cut."""
    return dead_letter.record.value, headers(dead_letter)


def _next_attempt(named: Sequence[tuple[str, bytes | None]]) -> int:
    digits = dict(named).get(ATTEMPT) or b""
    return int(digits) + 1 if digits.isdigit() and len(digits) <= MAX_ATTEMPT_DIGITS else 1


class KafkaDeadLetters:
    """Sends dead letters to one topic; connects at the first dead letter."""

    def __init__(
        self, settings: Callable[[], KafkaSettings], topic: str, delivery_timeout: float, max_request_size: int
    ) -> None:
        self._read_settings = settings
        self._topic = topic
        self._delivery_ms = int(delivery_timeout * 1000)
        self._max_request_size = max_request_size
        self._producer: Any = None

    def send(self, dead_letters: Sequence[InvalidRecord]) -> None:
        """Send all and wait for each acknowledgement; see `contracts.DeadLetterQueue`."""
        try:
            producer = self._connected()
            pending = [
                (dead_letter, self._start(producer, dead_letter.record.key, *whole(dead_letter)))
                for dead_letter in dead_letters
            ]
            too_large = [dead_letter for dead_letter, future in pending if not self._arrived(future)]
            for dead_letter in too_large:
                self._send_alone(producer, dead_letter)
        except (KafkaError, SourceUnavailable) as error:
            # The next attempt connects again, and so finds brokers that moved and credentials that changed.
            self.close()
            raise DeadLetterUnavailable(f"dead-letter topic {self._topic!r}: {error}") from error

    def close(self) -> None:
        """Close the producer; whatever was sent is acknowledged already."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=CLOSE_TIMEOUT_S)
            except KafkaError:
                return

    def _connected(self) -> Any:
        if self._producer is None:
            options = client_options(self._read_settings()) | {
                "acks": "all",
                "enable_idempotence": False,
                "delivery_timeout_ms": self._delivery_ms,
                "request_timeout_ms": min(MAX_BLOCK_MS, self._delivery_ms),
                "max_block_ms": min(MAX_BLOCK_MS, self._delivery_ms),
                "max_request_size": self._max_request_size,
                "compression_type": "lz4",
            }
            self._producer = connect(KafkaProducer, **options)
        return self._producer

    def _start(self, producer: Any, key: bytes | None, value: bytes | None, named: Headers) -> Any:
        """Hand a record to the producer; None where it is larger than a request may be.

        The client sends no record that has neither key nor value; an unreadable one gets an empty value.
        """
        value = b"" if key is None and value is None else value
        try:
            return producer.send(self._topic, key=key, value=value, headers=named)
        except MessageSizeTooLargeError:
            return None

    def _arrived(self, future: Any) -> bool:
        """Wait for an acknowledgement; False where the record is too large for the topic.

        Raises:
            KafkaError: it did not come.
        """
        if future is None:
            return False
        try:
            future.get(timeout=self._delivery_ms / 1000 + 1)
        except MessageSizeTooLargeError:
            return False
        return True

    def _send_alone(self, producer: Any, dead_letter: InvalidRecord) -> None:
        """Send a record again that did not fit: whole, since others may have filled its batch, then only its head.

        Headers give the length and hash of the value; Kafka still holds the whole record at its origin.
        """
        if self._arrived(self._start(producer, dead_letter.record.key, *whole(dead_letter))):
            return
        value = dead_letter.record.value or b""
        marks = [
            ("runstep-truncated", str(len(value)).encode()),
            ("runstep-sha256", hashlib.sha256(value).hexdigest().encode()),
        ]
        own = [(name, text) for name, text in headers(dead_letter) if name.startswith(_PREFIX)]
        for key, cut in (*((dead_letter.record.key, cut) for cut in KEPT_VALUE_BYTES), (None, 0)):
            if self._arrived(self._start(producer, key, value[:cut], own + marks)):
                return
        raise MessageSizeTooLargeError(f"not even an empty record with {len(own)} headers fits")
