"""Writes to Kafka all or nothing, and makes sure that only one does so at a time.

Owns the transactional producer. A refused record ends it for good (measured: after the abort its next one is out of
sequence), so it is made anew; whoever makes one ends all others, and must look again at what those had committed.
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
_BLOCK_MS: Final = 15_000
_DELIVERY_MS: Final = 30_000
_CLOSE_TIMEOUT: Final = 2.0
_MOST_BYTES: Final = 1 << 30
"""How large a record may be is for the broker to say."""
_FENCED: Final = (ProducerFencedError, InvalidProducerEpochError)
_REFUSALS: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
"""What is the record's own fault; a time is ours, since what comes back has the time of its coming back."""


class Outgoing(NamedTuple):
    """A record to be written; the partition may be left to the key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class Superseded(RunstepError):
    """Another process writes under the same name now."""


class Refused(Exception):
    """The broker does not take one of the records; none was written. The text says why."""


class Transactions:
    """One writer. `open` before everything else, and again after each `Refused`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.dead_letter_topic
        self.name = f"runstep-dlq-{self._topic}"
        self._producer: Any = None

    def open(self) -> None:
        """Become the only writer: whatever another one had begun is undone, or finished if it was decided.

        Raises:
            ServiceUnavailable: Kafka is away or refuses us.
            ConfigError: the broker knows no transactions.
        """
        self.close()
        options = client_options(self._settings.kafka) | {
            "transactional_id": self.name,
            "acks": "all",
            "compression_type": "lz4",
            "max_block_ms": _BLOCK_MS,
            "delivery_timeout_ms": _DELIVERY_MS,
            "request_timeout_ms": _DELIVERY_MS // 2,
            "max_request_size": _MOST_BYTES,
        }
        self._producer = connect(KafkaProducer, **options)
        with self._explained():
            self._producer.init_transactions()

    def prove(self, reader: LogReader) -> None:
        """Write a record, undo it, and see that nobody sees it: some brokers only pretend.

        Raises:
            ConfigError: it is seen.
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
            Refused: the broker does not take one of them.
            Superseded: another process has opened the same.
            ServiceUnavailable: Kafka is away or refuses us; whether all or none was written, is not known.
        """
        with self._explained():
            try:
                self._send(records)
            except _REFUSALS as error:
                self._end(self._producer.abort_transaction)
                raise Refused(str(error.args[0] if error.args and error.args[0] else type(error).__name__)) from None
            self._end(self._producer.commit_transaction)

    def close(self) -> None:
        """Close the connections; what was not committed is undone by the broker. Bounded in time."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                producer.close(timeout=_CLOSE_TIMEOUT)

    def _send(self, records: Sequence[Outgoing]) -> list[Any]:
        self._producer.begin_transaction()
        futures: list[Any] = []
        failures: list[Exception] = []
        try:
            # Those before the one that fails stay in the list.
            futures.extend(
                self._producer.send(each.topic, each.value, each.key, each.headers, each.partition) for each in records
            )
        except KafkaError as error:
            failures.append(_cause(error))
        self._producer.flush(timeout=_DELIVERY_MS / 1000 + 1)
        failures += [future.exception for future in futures if future.failed()]
        # One refusal makes all others fail, with errors that say less.
        for kinds in (_FENCED, _REFUSALS, (Exception,)):
            for failure in failures:
                if isinstance(failure, kinds):
                    raise failure
        return [future.get(timeout=0) for future in futures]

    def _end(self, call: Callable[[], None]) -> None:
        """Commit or abort; the client itself would wait without end for a broker that is away."""
        raised: list[Exception] = []

        def run() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - raised again on the caller's thread
                raised.append(error)

        thread = threading.Thread(target=run, name="runstep-transaction", daemon=True)
        thread.start()
        thread.join(_DELIVERY_MS / 1000)
        if thread.is_alive():
            raise ServiceUnavailable(
                "Kafka does not answer; run it again: what was replayed is not replayed a second time"
            )
        for error in raised:
            raise error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _FENCED:
            raise Superseded(
                f"another `runstep dlq replay` of {self._topic} has taken over; what this one had committed stays"
            ) from None
        except UnsupportedVersionError:
            raise self._unable() from None
        except AuthorizationError as error:
            raise ServiceUnavailable(
                f"Kafka refuses us: {type(error).__name__}; grant WRITE and DESCRIBE on the transactional id "
                f"{self.name}, and WRITE on {self._topic} and on the topics of the records"
            ) from None
        except KafkaError as error:
            raise ServiceUnavailable(f"Kafka does not take the replay: {error or type(error).__name__}") from None

    def _unable(self) -> ConfigError:
        return ConfigError(
            "this broker does not keep transactions apart, so a replay could bring records in twice; "
            "Apache Kafka does, the embedded broker does not"
        )


def _cause(error: Exception) -> Exception:
    """Return why the client takes no further record: one before was refused while this one was handed over."""
    return next((told for told in error.args if isinstance(told, Exception)), error)
