"""Writes to Kafka atomically, as the only writer of a dead-letter topic.

Owns the transactional producer. After a rejected record the producer cannot be used any more (measured: after the abort
its next record is out of sequence), so it is recreated. A new producer fences off all others; its owner must read again
what they had committed.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from kafka import KafkaProducer
from kafka.errors import (
    AuthorizationError,
    InvalidProducerEpochError,
    InvalidRecordError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFencedError,
    RecordListTooLargeError,
    UnsupportedVersionError,
)
from kafka.structs import TopicPartition

from pipeline.config import Settings
from pipeline.errors import ConfigError, RunstepError, ServiceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.kafka.dead_letters import Headers
from pipeline.kafka.log_reader import LogReader

PROBE: Final = "runstep-replay-probe"
_BLOCK_TIMEOUT_MS: Final = 15_000
_DELIVERY_TIMEOUT_MS: Final = 30_000
_CLOSE_TIMEOUT_S: Final = 2.0
_MAX_RECORD_BYTES: Final = 1 << 30
"""More than any broker accepts: the limit is the broker's."""
_FENCED: Final = (ProducerFencedError, InvalidProducerEpochError)
_RECORD_ERRORS: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
"""Errors that the record itself causes. A time stamp cannot, since a replayed record gets a new one."""


class Outgoing(NamedTuple):
    """A record to write; without a partition the key decides it."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class Superseded(RunstepError):
    """Another process has become the writer of the dead-letter topic."""


class RecordRejected(Exception):
    """The broker rejects one of the records; none was written. The text says why."""


class Transactions:
    """One writer. `open` before everything else, and again after each `RecordRejected`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.dead_letter_topic
        self.name = f"runstep-dlq-{self._topic}"
        self._producer: Any = None

    def open(self) -> None:
        """Become the only writer; an open transaction of another one is aborted, or completed if it was committing.

        Raises:
            ServiceUnavailable: Kafka is away or denies access.
            ConfigError: the broker does not support transactions.
        """
        self.close()
        options = client_options(self._settings.kafka) | {
            "transactional_id": self.name,
            "acks": "all",
            "compression_type": "lz4",
            "max_block_ms": _BLOCK_TIMEOUT_MS,
            "delivery_timeout_ms": _DELIVERY_TIMEOUT_MS,
            "request_timeout_ms": _DELIVERY_TIMEOUT_MS // 2,
            "max_request_size": _MAX_RECORD_BYTES,
        }
        self._producer = connect(KafkaProducer, **options)
        with self._explained():
            self._producer.init_transactions()

    def verify_isolation(self, reader: LogReader) -> None:
        """Write a record, abort, and check that a reader does not see it: some brokers only accept the requests.

        Raises:
            ConfigError: the reader sees the record.
        """
        probe = Outgoing(self._topic, 0, PROBE.encode(), b"", [(PROBE, b"")])
        with self._explained():
            (place,) = self._send([probe])
            self._end(self._producer.abort_transaction)
        if any(True for _ in reader.at(TopicPartition(self._topic, 0), [place.offset])):
            raise self._unable()

    def write(self, records: Sequence[Outgoing]) -> None:
        """Write all, or none.

        Raises:
            RecordRejected: the broker rejects one of them.
            Superseded: another process has become the writer.
            ServiceUnavailable: Kafka is away or denies access; whether all or none was written is unknown.
        """
        with self._explained():
            try:
                self._send(records)
            except _RECORD_ERRORS as error:
                self._end(self._producer.abort_transaction)
                raise RecordRejected(
                    str(error.args[0] if error.args and error.args[0] else type(error).__name__)
                ) from None
            self._end(self._producer.commit_transaction)

    def close(self) -> None:
        """Close the connections; the broker aborts what was not committed. Bounded in time."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                producer.close(timeout=_CLOSE_TIMEOUT_S)

    def _send(self, records: Sequence[Outgoing]) -> list[Any]:
        self._producer.begin_transaction()
        futures: list[Any] = []
        failures: list[Exception] = []
        try:
            # The futures before a failing record stay in the list.
            futures.extend(
                self._producer.send(each.topic, each.value, each.key, each.headers, each.partition) for each in records
            )
        except KafkaError as error:
            failures.append(_cause(error))
        self._producer.flush(timeout=_DELIVERY_TIMEOUT_MS / 1000 + 1)
        failures += [future.exception for future in futures if future.failed()]
        # One rejected record makes all others fail, with less specific errors.
        for kinds in (_FENCED, _RECORD_ERRORS, (Exception,)):
            for failure in failures:
                if isinstance(failure, kinds):
                    raise failure
        return [future.get(timeout=0) for future in futures]

    def _end(self, call: Callable[[], None]) -> None:
        """Commit or abort within a time-out; the client would wait without end for a broker that is away."""
        raised: list[Exception] = []

        def run() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - raised again on the caller's thread
                raised.append(error)

        thread = threading.Thread(target=run, name="runstep-transaction", daemon=True)
        thread.start()
        thread.join(_DELIVERY_TIMEOUT_MS / 1000)
        if thread.is_alive():
            raise ServiceUnavailable(
                "Kafka does not answer; run `runstep dlq replay` again: no dead letter is replayed twice"
            )
        for error in raised:
            raise error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _FENCED:
            raise Superseded(
                f"another `runstep dlq replay` of {self._topic} has taken over; what this one committed stays replayed"
            ) from None
        except UnsupportedVersionError:
            raise self._unable() from None
        except AuthorizationError as error:
            raise ServiceUnavailable(
                f"Kafka denies access ({type(error).__name__}); grant WRITE and DESCRIBE on the transactional id "
                f"{self.name}, and WRITE on {self._topic} and on the topics of the records"
            ) from None
        except KafkaError as error:
            raise ServiceUnavailable(f"Kafka rejects the transaction: {error or type(error).__name__}") from None

    def _unable(self) -> ConfigError:
        return ConfigError(
            "this broker does not isolate transactions, so a replay could write records twice; replay on a broker that "
            "does, such as Apache Kafka; the embedded broker of the demo does not"
        )


def _cause(error: Exception) -> Exception:
    """Return the error behind another one: an earlier record was rejected while this one was being sent."""
    return next((cause for cause in error.args if isinstance(cause, Exception)), error)
