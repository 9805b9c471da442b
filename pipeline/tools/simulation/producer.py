"""Sends simulated events to Kafka at a given rate, and counts what Kafka acknowledged.

Used by the commands that make traffic, and by tests; the daemon never imports it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count as counter
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipeline.config import KafkaSettings
from pipeline.errors import ServiceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.tools.simulation import SimulatedEvent, Traffic, beginning, events

_TICK_INTERVAL_S: Final = 0.1
_MIN_WAIT_S: Final = 0.005
_SEGMENT_EVENTS: Final = 100_000
_LATENESS_S: Final = 60.0
_BLOCK_TIMEOUT_MS: Final = 15_000
_DELIVERY_TIMEOUT_MS: Final = 30_000
_CLOSE_TIMEOUT_S: Final = 5.0

Acknowledged = Callable[[SimulatedEvent, int, int], None]
"""Called with an event, its partition and its offset, on the producer's IO thread."""


@dataclass(slots=True)
class Sent:
    """What was produced so far; updated while `produce` runs, the last three fields on the producer's IO thread."""

    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    """Partition to the offset behind the last acknowledged event."""
    rejections: Counter[str] = field(default_factory=Counter)
    """Why events were not acknowledged."""


class EventProducer:
    """Sends events to one topic, in the order given for each key.

    Idempotence is off, since a Kafka-compatible broker may lack it; one request in flight keeps the order.

    Attributes:
        sent: the numbers so far.

    Raises:
        ServiceUnavailable: Kafka cannot be reached.
        ConfigError: kafka-python does not accept the settings.
    """

    def __init__(self, settings: KafkaSettings, topic: str, acknowledged: Acknowledged | None = None) -> None:
        self.sent = Sent()
        self._topic = topic
        self._acknowledged = acknowledged
        options = client_options(settings) | {
            "acks": "all",
            "enable_idempotence": False,
            "max_in_flight_requests_per_connection": 1,
            "linger_ms": 20,
            "batch_size": 262_144,
            "compression_type": "lz4",
            "max_block_ms": _BLOCK_TIMEOUT_MS,
            "delivery_timeout_ms": _DELIVERY_TIMEOUT_MS,
            "request_timeout_ms": _DELIVERY_TIMEOUT_MS // 2,
        }
        self._producer: Any = connect(KafkaProducer, **options)

    def produce(
        self,
        stream: Iterable[SimulatedEvent],
        rate: float = 0,
        stop: threading.Event | None = None,
        tick: Callable[[Sent], None] = lambda _: None,
    ) -> Sent:
        """Send events until there are no more or `stop` is set, and wait until Kafka has acknowledged them.

        Args:
            stream: what to send.
            rate: events per second; 0 is as fast as Kafka takes them.
            stop: set from another thread or a signal handler.
            tick: called about ten times a second.

        Raises:
            ServiceUnavailable: Kafka rejects events, or did not acknowledge all of them.
        """
        ticked = time.monotonic()
        for event in paced(stream, rate, stop or threading.Event()):
            self._send(event)
            now = time.monotonic()
            if now - ticked >= _TICK_INTERVAL_S:
                tick(self.sent)
                ticked = now
        self._finish()
        tick(self.sent)
        return self.sent

    def close(self) -> None:
        """Close the connections, without waiting for what was not acknowledged. Bounded in time."""
        try:
            self._producer.close(timeout=_CLOSE_TIMEOUT_S)
        except KafkaError:
            return

    def _send(self, event: SimulatedEvent) -> None:
        try:
            future = self._producer.send(self._topic, key=event.key, value=event.value)
        except KafkaError as error:
            raise ServiceUnavailable(f"Kafka rejects events for topic {self._topic!r}: {error}") from None
        future.add_callback(self._on_acknowledged, event)
        future.add_errback(self._on_error)
        sent = self.sent
        sent.events += 1
        sent.kinds[event.kind] += 1
        sent.outcomes[event.outcome] += 1

    def _on_acknowledged(self, event: SimulatedEvent, place: Any) -> None:
        sent = self.sent
        sent.acknowledged += 1
        sent.ends[place.partition] = max(place.offset + 1, sent.ends.get(place.partition, 0))
        if self._acknowledged is not None:
            self._acknowledged(event, place.partition, place.offset)

    def _on_error(self, error: Exception) -> None:
        self.sent.rejections[f"{type(error).__name__}: {error}"] += 1

    def _finish(self) -> None:
        try:
            self._producer.flush(timeout=_DELIVERY_TIMEOUT_MS / 1000 + 1)
        except KafkaError as error:
            self._on_error(error)
        missing = self.sent.events - self.sent.acknowledged
        if missing:
            why = self.sent.rejections.most_common(1)
            raise ServiceUnavailable(
                f"Kafka acknowledged {self.sent.acknowledged} of {self.sent.events} events for topic {self._topic!r}: "
                f"{why[0][0] if why else 'no answer'}"
            )


def timeline(traffic: Traffic, count: int | None, rate: float) -> Iterator[SimulatedEvent]:
    """Yield events whose times end about now.

    At a rate, they are about the present; without one, about the hour before now. Without a count, that hour is
    repeated with other ids.
    """
    if rate > 0:
        yield from events(replace(traffic, rate=rate), count, time.time() - _LATENESS_S)
        return
    for segment in counter():
        size = _SEGMENT_EVENTS if count is None else count
        yield from events(replace(traffic, seed=traffic.seed + segment), size, beginning(traffic, size, time.time()))
        if count is not None:
            return


def paced(stream: Iterable[SimulatedEvent], rate: float, stop: threading.Event) -> Iterator[SimulatedEvent]:
    """Yield events at `rate` a second, 0 for no limit, until `stop` is set. Waits in the calling thread."""
    began = time.monotonic()
    for number, event in enumerate(stream):
        ahead = number / rate - (time.monotonic() - began) if rate else 0.0
        # A shorter wait costs more than it smooths the rate.
        if stop.is_set() or (ahead > _MIN_WAIT_S and stop.wait(ahead)):
            return
        yield event
