"""The kafka-python consumer as the source needs it: how it is made, what its rebalances report, offsets of its brokers.

Owns the options, and the words for its partitions and errors. Everything private of the client is in `internals`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
)

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError
from pipeline.kafka import connection_internals, group_internals, internals
from pipeline.kafka.client import client_options, connect, milliseconds
from pipeline.kafka.record_batches import install
from pipeline.kafka.source.strangers import assignor
from pipeline.records import Partition

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT_MS: Final = 1_000
"""How long one answer is waited for: a member that does not poll holds up its whole group."""
FETCH_MAX_WAIT_MS: Final = 100
"""Longer waits stall a busy partition behind idle ones; shorter ones only cost requests."""


class Inbox(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python is not typed
    """What rebalances did, in order. Written on the client's IO thread, where blocking would stop the heartbeats."""

    def __init__(self) -> None:
        self.seen: deque[tuple[str, TopicPartition]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self.seen.extend(("assigned", partition) for partition in sorted(assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self.seen.extend(("revoked", partition) for partition in sorted(revoked))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self.seen.extend(("lost", partition) for partition in sorted(lost))


class Troubles:
    """What does not work although `poll` raises nothing; logged when it begins and when it ends.

    Attributes:
        causes: the newest cause of each. For any thread.
    """

    def __init__(self) -> None:
        self.causes: dict[str, str] = {}

    def raise_(self, trouble: str, cause: str) -> None:
        """Note that something does not work, or its newest cause."""
        if trouble not in self.causes:
            log.warning("kafka_degraded", message="Kafka does not work as it should", trouble=trouble, cause=cause)
        self.causes[trouble] = cause

    def clear(self, trouble: str) -> None:
        """Note that it works, again or still."""
        if self.causes.pop(trouble, None) is not None:
            log.info("kafka_recovered", message="Kafka works again", trouble=trouble)

    def clear_all(self) -> None:
        """Forget all, with the consumer that had them."""
        self.causes.clear()


def make_consumer(
    settings: KafkaSettings, max_records: int, max_record_bytes: int, inbox: Inbox, worker_id: str | None = None
) -> Any:
    """Return a subscribed consumer that has reached the cluster, after `bootstrap_timeout` at the latest.

    Args:
        settings: where the cluster is, what is read of it, and how to log in.
        max_records: of one poll.
        max_record_bytes: of a larger record only the place is read.
        inbox: gets what rebalances do.
        worker_id: makes a worker a static member also without `kafka.group_instance_id`: when its process dies, the
            next one takes its place, and no other member notices. Unlike a name that was set, it is left at the end.

    Raises:
        SourceUnavailable: the cluster was not reached.
        ConfigError: kafka-python does not accept the options, or lacks a part that the daemon needs.
    """
    internals.require((*internals.NEEDED, *connection_internals.NEEDED, *group_internals.NEEDED))
    consumer = connect(
        internals.Consumer,
        **client_options(settings),
        client_rack=settings.client_rack,
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id or worker_id,
        partition_assignment_strategy=[assignor()],
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        session_timeout_ms=milliseconds(settings.session_timeout),
        heartbeat_interval_ms=milliseconds(settings.heartbeat_interval),
        max_poll_interval_ms=milliseconds(settings.max_poll_interval),
        max_poll_records=max_records,
        fetch_max_bytes=settings.fetch_max_bytes,
        max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
    )
    install(consumer, max_record_bytes)
    if settings.group_instance_id is None and worker_id is not None:
        group_internals.leave_when_closed(consumer)
    consumer.subscribe(topics=list(settings.topics), listener=inbox)
    return consumer


def offsets(
    ask: Callable[..., Mapping[TopicPartition, int]], partitions: Iterable[TopicPartition], timeout_ms: int
) -> Mapping[TopicPartition, int]:
    """Ask the leaders of partitions for an offset of each: `beginning_offsets` or `end_offsets` of a consumer.

    Raises:
        KafkaError: they did not all answer in time.
    """
    try:
        return ask(list(partitions), timeout_ms=timeout_ms)
    except KeyError as error:
        # The client leaves out a partition that has no leader, and then looks for its answer.
        raise LeaderNotAvailableError(f"{error.args[0]} has no leader") from error


def cause_of(error: KafkaError) -> str:
    """Return the cause for people, where the client's own words say nothing more than a name."""
    if isinstance(error, InconsistentGroupProtocolError):
        return "another program uses kafka.group_id, and shares out its partitions in another way: take another group"
    return "Kafka does not answer in time" if isinstance(error, KafkaTimeoutError) else str(error)


def ousted(settings: KafkaSettings, error: FencedInstanceIdError) -> str:
    """Return why a member whose name was taken joins again: a worker shares its name only with the dead process before.

    Raises:
        ConfigError: another member has this `group_instance_id`.
    """
    if settings.group_instance_id is not None:
        cause = f"another member goes by kafka.group_instance_id {settings.group_instance_id!r}"
        raise ConfigError(f"{cause}: give each process its own") from error
    return "a late request of the process before this one took its place in the group"


def name(partition: TopicPartition) -> Partition:
    """Return a partition as the rest of the daemon calls it."""
    return Partition(partition.topic, partition.partition)


def log_fields(partition: TopicPartition) -> dict[str, Any]:
    """Return a partition as log lines call it."""
    return {"topic": partition.topic, "partition": partition.partition}
