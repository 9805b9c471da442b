"""Where each partition is read on: the daemon's own positions, since the client's cannot be trusted.

Owns the start of a partition, what is committed for it, and the way back after a poll that failed. kafka-python moves
its position when it takes records out of its buffer, and can then still raise instead of returning them: it does so
where the fetch of what comes next cannot be sent.

Positions and commits carry the leader epoch of what was read, so that a log that was truncated and filled again is
noticed, also after a restart (KIP-320). Any later epoch may be committed: two logs that agree on an epoch agree on
everything before it. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.contracts import Progress
from pipeline.kafka.internals import position_with_epoch, seek_with_epoch
from pipeline.kafka.source.consumer import log_fields, offsets
from pipeline.kafka.source.topic_identity import TopicIdentities
from pipeline.kafka.source.transactions import End

log = structlog.get_logger(__name__)


class Positions:
    """Three offsets of each partition that was started: read next, delivered up to, committed up to.

    Attributes:
        topics: the identities of their topics.
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._delivered: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self.topics = TopicIdentities()

    def start(self, consumer: Any, partition: TopicPartition, settings: KafkaSettings, timeout_ms: int) -> None:
        """Start a partition at its committed offset, or where `kafka.start` says.

        The client keeps its position in a partition that leaves and comes back within one rebalance, so the position is
        always set. An end that was chosen is committed at once: else the next owner would choose a later one, and no
        member would read what came in between.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        committed = consumer.committed(partition, metadata=True, timeout_ms=timeout_ms)
        if committed is not None and self.topics.is_of(consumer, partition.topic, committed, timeout_ms):
            self.topics.remember(partition.topic, committed)
            self.reset(consumer, partition, committed.offset, committed.leader_epoch)
            return
        latest = settings.start == "latest" and self.topics.starts_at_end(consumer, partition, timeout_ms)
        ask = consumer.end_offsets if latest else consumer.beginning_offsets
        offset = offsets(ask, [partition], timeout_ms)[partition]
        if latest:
            mark = OffsetAndMetadata(offset, self.topics.metadata(partition.topic), -1)
            consumer.commit({partition: mark}, timeout_ms=timeout_ms)
        message = "the group has no committed offset of the partition, which is read from where kafka.start says"
        log.info("group_start", message=message, **log_fields(partition), start=offset)
        self.reset(consumer, partition, offset)

    def reset(self, consumer: Any, partition: TopicPartition, offset: int, epoch: int = -1) -> None:
        """Begin at an offset; what was delivered before does not count any more."""
        self._delivered[partition] = self._committed[partition] = offset
        self.seek(consumer, partition, offset, epoch)

    def seek(self, consumer: Any, partition: TopicPartition, offset: int, epoch: int = -1) -> None:
        """Read on at an offset; what was delivered before still waits for its commit."""
        seek_with_epoch(consumer, partition, offset, epoch)
        self._next[partition] = offset

    def mark_delivered(self, partition: TopicPartition, below: int) -> None:
        """Note that the owner has everything below an offset, and answers for it."""
        self._next[partition] = self._delivered[partition] = below

    def delivered(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Note what the owner gets."""
        for partition, records in polled.items():
            self.mark_delivered(partition, records[-1].offset + 1)

    def forget(self, partition: TopicPartition) -> None:
        """Drop the offsets of a partition that was withdrawn, or is started again."""
        for known in (self._next, self._delivered, self._committed):
            known.pop(partition, None)

    def rewind(self, consumer: Any) -> None:
        """Go back to what the owner got last, after a poll that raised: what it took is nowhere else any more."""
        for partition, offset in self._next.items():
            position = self.position(consumer, partition)
            if position is not None and position.offset != offset:
                self.seek(consumer, partition, offset, position.leader_epoch)

    def position(self, consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
        """Return where the client reads on, with its leader epoch; None where it does not know."""
        return position_with_epoch(consumer, partition)

    def progress(self, consumer: Any, partition: TopicPartition, end: End, is_halted: bool) -> Progress | None:
        """Return how far a partition is read whose end is known; None where the client does not know.

        The client has polled past what a halted partition delivers next: that begins again at its committed offset.
        """
        place = self.position(consumer, partition)
        if place is None or partition not in self._committed:
            return None
        committed = self._committed[partition]
        position = committed if is_halted else place.offset
        return Progress(position, committed, max(end.offset, position), end.unstable)

    def mark(self, consumer: Any, partition: TopicPartition, offset: int) -> OffsetAndMetadata:
        """Return what to commit when the owner is done with everything below an offset.

        Where that is all it was given, the commit goes up to the client's position: what lies between holds no records
        (the markers of transactions, what compaction left), and would look like a lag for as long as none comes.
        """
        position = self.position(consumer, partition)
        if position is None or partition not in self._delivered:
            return OffsetAndMetadata(offset, self.topics.metadata(partition.topic), -1)
        if offset == self._delivered[partition]:
            offset = max(offset, position.offset)
        return OffsetAndMetadata(offset, self.topics.metadata(partition.topic), position.leader_epoch)

    def committed(self, marks: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Note what is committed."""
        for partition, mark in marks.items():
            self._committed[partition] = mark.offset

    def waiting(self, partitions: Iterable[TopicPartition]) -> bool:
        """Return whether the owner got something that is not committed."""
        return any(self._committed[p] < self._delivered[p] for p in partitions if p in self._committed)

    def passed(self, consumer: Any, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return what may be committed although the owner has nothing new: offsets without records were passed."""
        idle = [p for p in partitions if p in self._committed and self._committed[p] >= self._delivered[p]]
        marks = {partition: self.mark(consumer, partition, self._delivered[partition]) for partition in idle}
        return {partition: mark for partition, mark in marks.items() if mark.offset > self._committed[partition]}
