"""Makes the consumer on a thread of its own, so that the daemon can be stopped while it waits for Kafka."""

import threading
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaError

from pipeline.errors import SourceUnavailable


class Connecting:
    """Makes one consumer at a time in the background. Used by the owner's thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._attempt: _Attempt | None = None
        self._cause: str | None = None

    def result(self, timeout: float) -> Any:
        """Return a consumer, or None where there is none after `timeout` seconds and it is not known why.

        Raises:
            SourceUnavailable: why it could not be made; this attempt, or while the next one lasts, the last.
            ConfigError: kafka-python does not accept the options, or lacks a part that the daemon needs.
        """
        attempt = self._attempt = self._attempt or _Attempt(self._make)
        if attempt.ended(timeout):
            self._attempt = None
            try:
                consumer = attempt.result()
            except SourceUnavailable as error:
                self._cause = str(error)
                raise
            self._cause = None
            return consumer
        if self._cause is not None:
            raise SourceUnavailable(self._cause)
        return None

    def abandon(self) -> None:
        """Give up the attempt; a consumer that it still makes is closed."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.abandon()


class _Attempt:
    """One try. The lock makes sure that a consumer is either handed out or closed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._consumer: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="runstep-connect", daemon=True).start()

    def ended(self, timeout: float) -> bool:
        return self._ended.wait(timeout)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._consumer

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            consumer, self._consumer = self._consumer, None
        _close(consumer)

    def _run(self) -> None:
        try:
            consumer = self._make()
        except BaseException as error:  # noqa: BLE001 - raised again where the consumer was asked for
            self._error = error
        else:
            with self._lock:
                if not self._abandoned:
                    self._consumer, consumer = consumer, None
            _close(consumer)
        self._ended.set()


def _close(consumer: Any) -> None:
    if consumer is None:
        return
    try:
        consumer.close(autocommit=False, timeout_ms=0)
    except KafkaError:
        return
