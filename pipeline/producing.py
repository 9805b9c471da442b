"""Producing simulated events to Kafka: the pace, the acknowledgements, and the account of what Kafka took.

Used by the commands that make traffic, and by tests; the daemon never imports it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from pipeline.config import KafkaSettings
from pipeline.errors import ServiceUnavailable, SourceUnavailable
from pipeline.kafka_options import client_options, connect
from pipeline.simulation import SimulatedEvent

_TICK: Final = 0.1
_CHUNK: Final = 200
_BLOCK_MS: Final = 15_000
_DELIVERY_MS: Final = 30_000
_CLOSE_TIMEOUT: Final = 5.0

Acknowledged = Callable[[SimulatedEvent, int, int], None]
"""Called with an event, its partition and its offset, on the producer's IO thread."""


@dataclass(slots=True)
class Sent:
    """What was produced so far; grows while `produce` runs, its last three fields on the producer's IO thread."""

    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    """Partition to the offset behind the last acknowledged event."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Why events were not acknowledged."""


class EventProducer:
    """Sends events to one topic, in the order given for each key.

    Idempotence is off, since a broker that is compatible with Kafka may lack it; one request at a time keeps the order.

    Attributes:
        sent: the account so far.

    Raises:
        ServiceUnavailable: Kafka cannot be reached.
        ConfigError: kafka-python does not accept the settings.
    """

    def __init__(self, settings: KafkaSettings, topic: str, acknowledged: Acknowledged | None = None) -> None:
        self.sent = Sent()
        self._topic = topic
        self._acknowledged = acknowledged
        self._producer = _connected(
            KafkaProducer,
            settings,
            acks="all",
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            linger_ms=20,
            batch_size=262_144,
            compression_type="lz4",
            max_block_ms=_BLOCK_MS,
            delivery_timeout_ms=_DELIVERY_MS,
            request_timeout_ms=_DELIVERY_MS // 2,
        )

    def produce(
        self,
        events: Iterable[SimulatedEvent],
        rate: float = 0,
        stop: threading.Event | None = None,
        tick: Callable[[Sent], None] = lambda _: None,
    ) -> Sent:
        """Send events until there are no more or `stop` is set, and wait until Kafka has acknowledged them.

        Args:
            events: what to send.
            rate: events per second; 0 is as fast as Kafka takes them.
            stop: set from another thread or a signal handler.
            tick: called about ten times a second.

        Raises:
            ServiceUnavailable: Kafka takes no more, or did not acknowledge everything.
        """
        stop = stop or threading.Event()
        began = ticked = time.monotonic()
        chunk = 1 if 0 < rate < _CHUNK else _CHUNK
        for event in events:
            self._send(event)
            if self.sent.events % chunk:
                continue
            now = time.monotonic()
            ahead = self.sent.events / rate - (now - began) if rate else 0.0
            if now - ticked >= _TICK or ahead > _TICK:
                tick(self.sent)
                ticked = now
            if stop.is_set() or (ahead > 0 and _wait(stop, ahead, partial(tick, self.sent))):
                break
        self._finish()
        tick(self.sent)
        return self.sent

    def close(self) -> None:
        """Close the connections, without waiting for what was not acknowledged. Bounded in time."""
        try:
            self._producer.close(timeout=_CLOSE_TIMEOUT)
        except KafkaError:
            return

    def _send(self, event: SimulatedEvent) -> None:
        try:
            future = self._producer.send(self._topic, key=event.key, value=event.value)
        except KafkaError as error:
            raise ServiceUnavailable(f"Kafka takes no more events for topic {self._topic!r}: {error}") from None
        future.add_callback(self._took, event)
        future.add_errback(self._refused)
        sent = self.sent
        sent.events += 1
        sent.kinds[event.kind] += 1
        sent.outcomes[event.outcome] += 1

    def _took(self, event: SimulatedEvent, place: Any) -> None:
        sent = self.sent
        sent.acknowledged += 1
        sent.ends[place.partition] = max(place.offset + 1, sent.ends.get(place.partition, 0))
        if self._acknowledged is not None:
            self._acknowledged(event, place.partition, place.offset)

    def _refused(self, error: Exception) -> None:
        self.sent.refusals[f"{type(error).__name__}: {error}"] += 1

    def _finish(self) -> None:
        try:
            self._producer.flush(timeout=_DELIVERY_MS / 1000 + 1)
        except KafkaError as error:
            self._refused(error)
        missing = self.sent.events - self.sent.acknowledged
        if missing:
            why = self.sent.refusals.most_common(1)
            raise ServiceUnavailable(
                f"Kafka acknowledged {self.sent.acknowledged} of {self.sent.events} events for topic {self._topic!r}: "
                f"{why[0][0] if why else 'no answer'}"
            )


def _wait(stop: threading.Event, seconds: float, tick: Callable[[], None]) -> bool:
    """Wait, ticking; return whether it was interrupted."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stop.wait(min(left, _TICK)):
            return True
        tick()
    return False


def create_topic(settings: KafkaSettings, topic: str, partitions: int) -> bool:
    """Create a topic with the brokers' default replication; return False where it exists already.

    Raises:
        ServiceUnavailable: Kafka cannot be reached or refuses.
    """
    admin = _connected(KafkaAdminClient, settings)
    try:
        # -1: the broker's own default; one of a single broker could not have more replicas than one.
        admin.create_topics([NewTopic(topic, partitions, -1)])
    except TopicAlreadyExistsError:
        return False
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka does not create topic {topic!r}: {error}") from None
    finally:
        admin.close()
    return True


def require_topic(settings: KafkaSettings, topic: str) -> int:
    """Return the number of partitions of a topic that has to exist.

    Raises:
        ServiceUnavailable: it does not, or Kafka cannot be reached.
    """
    admin = _connected(KafkaAdminClient, settings)
    try:
        described = admin.describe_topics([topic])[0]
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka does not describe topic {topic!r}: {error}") from None
    finally:
        admin.close()
    if described["error_code"]:
        cause = for_code(described["error_code"])
        cure = "create it, or say --create-topic 4" if "Unknown" in cause.__name__ else cause.__name__
        raise ServiceUnavailable(f"Kafka has no topic {topic!r}: {cure}")
    return len(described["partitions"])


def _connected(client: Callable[..., Any], settings: KafkaSettings, **options: Any) -> Any:
    try:
        return connect(client, **(client_options(settings) | options))
    except SourceUnavailable as error:
        raise ServiceUnavailable(str(error)) from None
