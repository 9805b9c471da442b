"""The kafka-python consumer as we want it: how it is made, what its rebalances tell, and questions that may fail."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import InconsistentGroupProtocolError, KafkaError, KafkaTimeoutError, LeaderNotAvailableError
from kafka.future import Future
from kafka.structs import MemberState

from pipeline.config import KafkaSettings
from pipeline.kafka.client import client_options, connect, milliseconds
from pipeline.kafka.record_batches import install
from pipeline.records import Partition

log = structlog.get_logger(__name__)

PATIENCE_MS: Final = 1_000
"""How long one answer is waited for: a member that does not poll holds up its whole group."""
FETCH_WAIT_MS: Final = 100
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


class Troubles(dict[str, str]):
    """What does not work, with the cause; said in the log when it begins and when it ends."""

    def begin(self, what: str, cause: str) -> None:
        """Note a trouble, or its newest cause."""
        if what not in self:
            log.warning("Kafka does not work as it should", trouble=what, cause=cause)
        self[what] = cause

    def end(self, what: str) -> None:
        """Note that it works, again or still."""
        if self.pop(what, None) is not None:
            log.info("Kafka works again", trouble=what)


class _Consumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python is not typed
    """A consumer that takes the result of every join, and of every fetch.

    A join goes on in the background when a poll ends before it, and a later poll takes its result if the client still
    thinks that it has to join. Where new metadata alone called for the join (the first came late, partitions were
    added), making the assignment settles that: nobody takes the result, and the member stays without partitions and
    heartbeats for ever, with no exception (3.0.12).

    What was fetched of a partition that is paused is put aside, and taken up again where no other partition's chunk is
    at hand. A chunk that is used up stays at hand, though: with nothing new of any other partition, a partition that
    was resumed is neither delivered nor fetched for ever, with no exception (3.0.12).
    """

    def poll(self, *arguments: Any, **options: Any) -> Any:
        """Poll; take up what was put aside, and leave an unfinished join to the next poll."""
        fetcher = self._fetcher
        if not fetcher._next_partition_records:  # noqa: SLF001 - the client is pinned, and a test holds this
            fetcher._next_partition_records = None  # noqa: SLF001 - same
        try:
            return super().poll(*arguments, **options)
        finally:
            coordinator = self._coordinator
            if coordinator.rebalance_in_progress() and not coordinator.need_rejoin():
                coordinator.request_rejoin()


def make_consumer(settings: KafkaSettings, max_records: int, inbox: Inbox) -> Any:
    """Return a subscribed consumer that has reached the cluster, after `bootstrap_timeout` at the latest.

    Raises:
        SourceUnavailable: the cluster was not reached.
        ConfigError: kafka-python does not accept the options.
    """
    consumer = connect(
        _Consumer,
        **client_options(settings),
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        partition_assignment_strategy=[CooperativeStickyAssignor],
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
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    install(consumer)
    keep_joins(consumer)
    tell_lost(consumer)
    consumer.subscribe(topics=list(settings.topics), listener=inbox)
    return consumer


def keep_joins(consumer: Any) -> None:
    """Let a join that ended between two polls count.

    The client looks at the end of a join only while a poll waits for it. One that ended earlier it throws away, with
    the assignment, and joins again, which makes all others join again: two busy members can go on like that for ever.
    Here such a join is made to end once more, while the poll waits. Runs on the client's IO thread.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - the client is pinned, and a test holds this
    join = coordinator.join_group_async

    async def join_group(timeout_ms: float | None = None) -> Any:
        ended = coordinator._join_task  # noqa: SLF001 - same
        if ended is not None and ended.is_done and coordinator.state is MemberState.REBALANCING:
            again = Future()
            coordinator._join_task = again  # noqa: SLF001 - same
            coordinator._manager.call_soon(lambda: ended.chain(again))  # noqa: SLF001 - same
        return await join(timeout_ms=timeout_ms)

    coordinator.join_group_async = join_group


def tell_lost(consumer: Any) -> None:
    """Let a member that falls out of the group while it joins be told that it has lost everything.

    The client tells before the first request of a rebalance, once. Who is put out between that and the end of the join
    joins again as a new member, keeps its partitions and its positions, and would read and count again what others have
    committed meanwhile (3.0.12; the Java client fixed it as KAFKA-12983). Runs on the client's IO thread.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - the client is pinned, and a test holds this
    forget = coordinator.reset_generation

    def reset_generation(*arguments: Any, **options: Any) -> None:
        forget(*arguments, **options)
        coordinator.rejoining = False

    coordinator.reset_generation = reset_generation


def offsets(
    question: Callable[..., Mapping[TopicPartition, int]], partitions: Iterable[TopicPartition], timeout_ms: int
) -> Mapping[TopicPartition, int]:
    """Ask the leaders of partitions for an offset of each.

    Raises:
        KafkaError: they did not all answer in time.
    """
    try:
        return question(list(partitions), timeout_ms=timeout_ms)
    except KeyError as error:
        # The client leaves out a partition that has no leader, and then looks for its answer.
        raise LeaderNotAvailableError(f"{error.args[0]} has no leader") from error


def why(error: KafkaError) -> str:
    """Return the cause for people, where the client's own words say nothing more than a name."""
    if isinstance(error, InconsistentGroupProtocolError):
        return "another program uses kafka.group_id, and shares out its partitions in another way: take another group"
    return "Kafka does not answer in time" if isinstance(error, KafkaTimeoutError) else str(error)


def name(partition: TopicPartition) -> Partition:
    """Return a partition as the rest of the daemon calls it."""
    return Partition(partition.topic, partition.partition)


def words(partition: TopicPartition) -> dict[str, Any]:
    """Return a partition as log lines call it."""
    return {"topic": partition.topic, "partition": partition.partition}
