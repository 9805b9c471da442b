"""The source: a kafka-python consumer that loses nothing silently.

Owns every trap of the client: no automatic commit, no automatic reset (the only policy that reports lost offsets), no
deserializers, callbacks that only enqueue, and a pause that also covers partitions which come later. Only the owner's
thread calls it; kafka-python's own IO thread touches nothing but the inbox. Facts: `reference` on Kafka.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.contracts import Assigned, Change, OffsetsLost, Withdrawn
from pipeline.errors import SourceUnavailable
from pipeline.kafka_options import client_options, connect
from pipeline.records import Partition, Record
from pipeline.unpacking import install

log = structlog.get_logger(__name__)

COMMIT_TIMEOUT_MS: Final = 5_000
ASK_TIMEOUT_MS: Final = 2_000
CLOSE_TIMEOUT_MS: Final = 3_000
FETCH_WAIT_MS: Final = 100
"""Longer waits stall a busy partition behind idle ones; shorter ones only cost requests."""

_NAMED: Final = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)")


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python is not typed
    """Runs on the client's IO thread, where blocking would stop the heartbeats: it only enqueues."""

    def __init__(self, inbox: deque[tuple[str, TopicPartition]]) -> None:
        self._inbox = inbox

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self._inbox.extend(("assigned", partition) for partition in sorted(assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self._inbox.extend(("revoked", partition) for partition in sorted(revoked))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Enqueue."""
        self._inbox.extend(("lost", partition) for partition in sorted(lost))


def _names(partition: TopicPartition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.partition}


class KafkaSource:
    """A member of the consumer group, connected at the first poll and again after a fault that the client keeps.

    Attributes:
        halted: partitions that are not read on, with the cause; a person must look at them.
    """

    def __init__(self, settings: KafkaSettings, max_records: int) -> None:
        self._settings = settings
        self._max_records = min(settings.poll_records, max_records)
        self._inbox: deque[tuple[str, TopicPartition]] = deque()
        self._changes: list[Change] = []
        self._owned: set[TopicPartition] = set()
        self._unstarted: set[TopicPartition] = set()
        self._consumer: Any = None
        self._held = False
        self.halted: dict[Partition, str] = {}

    def poll(self, timeout: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what arrived; see `contracts.Source`."""
        consumer = self._connected()
        if self._held:
            consumer.pause(*consumer.assignment())
        try:
            polled = consumer.poll(timeout_ms=int(timeout * 1000), max_records=self._max_records)
        except KafkaError as error:
            polled = {}
            self._survive(error)
        self._follow_inbox()
        untimely = self._start_new()
        return {
            Partition(partition.topic, partition.partition): records
            for partition, records in polled.items()
            if partition not in untimely
        }

    def changes(self) -> Sequence[Change]:
        """Return what happened to our partitions since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit next offsets of partitions that are ours; see `contracts.Source`.

        The coordinator accepts a commit for any partition from any current member, so what is no longer assigned is
        left out here, on the polling thread, where the assignment cannot change meanwhile.
        """
        consumer = self._consumer
        if consumer is None:
            return None
        assigned = consumer.assignment()
        ours = {p: offset for p, offset in offsets.items() if TopicPartition(*p) in assigned}
        if not ours:
            return frozenset()
        try:
            consumer.commit(
                {TopicPartition(*p): OffsetAndMetadata(offset, "", -1) for p, offset in ours.items()},
                timeout_ms=COMMIT_TIMEOUT_MS,
            )
        except FencedInstanceIdError as error:
            raise SourceUnavailable(
                f"another member uses group_instance_id {self._settings.group_instance_id!r}: give each its own"
            ) from error
        except KafkaError as error:
            log.info("commit deferred", cause=str(error))
            return None
        return frozenset(ours)

    def joined(self) -> bool:
        """Return whether we are a member of the group, with or without partitions. For any thread."""
        consumer = self._consumer
        return consumer is not None and consumer.group_metadata().state is MemberState.STABLE

    def hold(self) -> None:
        """Deliver nothing from the next poll on."""
        self._held = True

    def release(self) -> None:
        """Deliver again, but not from halted partitions."""
        if self._held and self._consumer is not None:
            halted = {TopicPartition(*partition) for partition in self.halted}
            self._consumer.resume(*(self._consumer.assignment() - halted - self._unstarted))
        self._held = False

    def lags(self) -> Mapping[Partition, int]:
        """Return the records that Kafka holds and we have not read; empty while Kafka is away."""
        consumer = self._consumer
        if consumer is None or not self._owned:
            return {}
        try:
            ends = consumer.end_offsets(self._owned, timeout_ms=ASK_TIMEOUT_MS)
            positions = {partition: consumer.position(partition, timeout_ms=ASK_TIMEOUT_MS) for partition in ends}
        except (KafkaError, AssertionError):
            return {}
        return {
            Partition(partition.topic, partition.partition): max(end - positions[partition], 0)
            for partition, end in ends.items()
            if positions[partition] is not None
        }

    def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _connected(self) -> Any:
        if self._consumer is None:
            settings = self._settings
            consumer = connect(
                KafkaConsumer,
                **client_options(settings),
                group_id=settings.group_id,
                group_instance_id=settings.group_instance_id,
                partition_assignment_strategy=[CooperativeStickyAssignor],
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                session_timeout_ms=int(settings.session_timeout * 1000),
                heartbeat_interval_ms=int(settings.heartbeat_interval * 1000),
                max_poll_interval_ms=int(settings.max_poll_interval * 1000),
                max_poll_records=self._max_records,
                fetch_max_bytes=settings.fetch_max_bytes,
                max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            install(consumer)
            consumer.subscribe(topics=list(settings.topics), listener=_Listener(self._inbox))
            self._consumer = consumer
        return self._consumer

    def _follow_inbox(self) -> None:
        """Turn what the listener saw into changes."""
        while self._inbox:
            kind, partition = self._inbox.popleft()
            name = Partition(partition.topic, partition.partition)
            if kind == "assigned":
                self._owned.add(partition)
                self._unstarted.add(partition)
                self._changes.append(Assigned(name))
            elif partition in self._owned:
                self._owned.discard(partition)
                self._unstarted.discard(partition)
                self.halted.pop(name, None)
                self._changes.append(Withdrawn(name, lost=kind == "lost"))

    def _start_new(self) -> set[TopicPartition]:
        """Start new partitions at their committed offset.

        The client keeps its position in a partition that leaves and comes back within one rebalance, so the position is
        set here, explicitly. While the broker does not answer, the partition waits, paused; the others flow on.

        Returns:
            Partitions of which this poll's records are to be thrown away: they come again, from the right offset.
        """
        untimely = set(self._unstarted)
        for partition in sorted(untimely & self._consumer.assignment()):
            try:
                committed = self._consumer.committed(partition, timeout_ms=COMMIT_TIMEOUT_MS)
                if committed is None:
                    self._seek_to_start({partition})
                else:
                    self._consumer.seek(partition, committed)
            except KafkaError as error:
                self._consumer.pause(partition)
                log.warning("partition waits for its committed offset", **_names(partition), cause=str(error))
                return untimely
            self._consumer.resume(partition)
            self._unstarted.discard(partition)
        return untimely

    def _survive(self, error: KafkaError) -> None:
        """React to an exception of `poll`, before the next one: after some of them it would never return.

        Raises:
            SourceUnavailable: nothing can be read now.
        """
        try:
            self._heal(error)
        except KafkaError as second:
            self._restart(f"{error}; then: {second}")

    def _heal(self, error: KafkaError) -> None:
        match error:
            case NoOffsetForPartitionError():
                self._seek_to_start(set(error.args[0]) & self._consumer.assignment())
            case OffsetOutOfRangeError():
                self._step_over_lost(error.args[0])
            case LogTruncationError():
                self._follow_truncation(error)
            case _ if error.retriable:
                log.debug("poll failed, the client goes on by itself", cause=str(error))
            case _ if (named := _NAMED.search(str(error))) is not None:
                self._halt(TopicPartition(named[1], int(named[2])), str(error))
            case _ if "Authorization" in type(error).__name__ or "Authentication" in type(error).__name__:
                raise SourceUnavailable(f"Kafka refuses us: {error}") from error
            case _:
                self._restart(str(error))

    def _seek_to_start(self, partitions: set[TopicPartition]) -> None:
        """Begin where `kafka.start` says, on partitions for which the group has committed nothing."""
        if not partitions:
            return
        latest = self._settings.start == "latest"
        ask = self._consumer.end_offsets if latest else self._consumer.beginning_offsets
        for partition, offset in ask(partitions, timeout_ms=COMMIT_TIMEOUT_MS).items():
            self._consumer.seek(partition, offset)
            log.info("nothing committed", **_names(partition), start=offset)

    def _step_over_lost(self, wanted: Mapping[TopicPartition, int]) -> None:
        """Tell exactly which offsets Kafka dropped before they were read, then go on or halt, as set."""
        begins = self._consumer.beginning_offsets(list(wanted), timeout_ms=COMMIT_TIMEOUT_MS)
        for partition, offset in wanted.items():
            name, begin = Partition(partition.topic, partition.partition), begins[partition]
            if offset < begin:
                self._changes.append(OffsetsLost(name, offset, begin - 1))
                log.error("Kafka dropped unread records", **_names(partition), first=offset, last=begin - 1)
            else:
                log.error("the log ends before what was read: truncated, or made again", **_names(partition), at=offset)
            if self._settings.on_lost_offsets == "halt":
                self._halt(partition, f"offsets {offset} to {begin - 1} are lost and kafka.on_lost_offsets is halt")
            else:
                self._consumer.seek(partition, begin)

    def _follow_truncation(self, error: LogTruncationError) -> None:
        for partition, divergent in error.divergent_offsets.items():
            log.error("the log was truncated", **_names(partition), at=divergent.offset)
            self._consumer.seek(partition, divergent.offset)

    def _halt(self, partition: TopicPartition, cause: str) -> None:
        """Stop reading one partition, at once and until a person looks; the others flow on."""
        self._consumer.pause(partition)
        name = Partition(partition.topic, partition.partition)
        if name not in self.halted:
            log.error("partition halted", **_names(partition), cause=cause)
        self.halted[name] = cause

    def _restart(self, cause: str) -> None:
        """Give up this consumer; the next poll makes another, which starts at the committed offsets.

        Raises:
            SourceUnavailable: always.
        """
        log.warning("consumer is made again", cause=cause)
        self.close()
        self._inbox.clear()
        self._changes.extend(Withdrawn(Partition(p.topic, p.partition), lost=True) for p in sorted(self._owned))
        self._owned.clear()
        self._unstarted.clear()
        self.halted.clear()
        raise SourceUnavailable(cause)
