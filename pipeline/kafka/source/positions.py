"""Where each partition is read on: the daemon's own book, since the client's positions cannot be trusted.

Owns the start of a partition, what is committed for it, and the way back after a poll that failed. kafka-python moves
its position when it takes records out of its buffer, and can then still raise instead of returning them: it does so
where the fetch of what comes next cannot be sent.

Positions and commits carry the leader epoch of what was read, so that a log that was truncated and filled again is
noticed, also after a restart (KIP-320). The epoch of any record read since is as good as that of the last one before
an offset: logs that agree on it agree on all before it. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.kafka.source.consumer import offsets, words
from pipeline.kafka.source.topic_identity import Topics

log = structlog.get_logger(__name__)


class Positions:
    """The book of offsets.

    Attributes:
        topics: which topics they belong to.
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._returned: dict[TopicPartition, int] = {}
        self._kept: dict[TopicPartition, int] = {}
        self.topics = Topics()

    def start(self, consumer: Any, partition: TopicPartition, settings: KafkaSettings, timeout_ms: int) -> None:
        """Start a partition at its committed offset, or where `kafka.start` says.

        The client keeps its position in a partition that leaves and comes back within one rebalance, so the position is
        always set. An end that was chosen is committed at once: else the next owner would choose a later one, and what
        came in between would be nobody's.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        committed = consumer.committed(partition, metadata=True, timeout_ms=timeout_ms)
        if committed is not None and self.topics.is_ours(consumer, partition.topic, committed, timeout_ms):
            self.topics.remember(partition.topic, committed)
            self.move(consumer, partition, committed.offset, committed.leader_epoch)
            return
        latest = settings.start == "latest" and self.topics.starts_at_end(consumer, partition, timeout_ms)
        ask = consumer.end_offsets if latest else consumer.beginning_offsets
        offset = offsets(ask, [partition], timeout_ms)[partition]
        if latest:
            mark = OffsetAndMetadata(offset, self.topics.note(partition.topic), -1)
            consumer.commit({partition: mark}, timeout_ms=timeout_ms)
        log.info("nothing committed", **words(partition), start=offset)
        self.move(consumer, partition, offset)

    def move(self, consumer: Any, partition: TopicPartition, offset: int, epoch: int = -1) -> None:
        """Begin at that offset; what was read before does not count any more."""
        self._returned[partition] = self._kept[partition] = offset
        self.skip(consumer, partition, offset, epoch)

    def skip(self, consumer: Any, partition: TopicPartition, offset: int, epoch: int = -1) -> None:
        """Read on at that offset; what was returned before still waits for its commit."""
        # The public seek takes no epoch.
        consumer._subscription.seek(partition, OffsetAndMetadata(offset, "", epoch))  # noqa: SLF001
        self._next[partition] = offset

    def give(self, partition: TopicPartition, behind: int) -> None:
        """Note that the owner has everything in front of that offset and answers for it."""
        self._next[partition] = self._returned[partition] = behind

    def returned(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Note what the owner gets."""
        for partition, records in polled.items():
            self.give(partition, records[-1].offset + 1)

    def forget(self, partition: TopicPartition) -> None:
        """End the book of a partition that is not ours any more, or is started again."""
        for book in (self._next, self._returned, self._kept):
            book.pop(partition, None)

    def rewind(self, consumer: Any) -> None:
        """Go back to what the owner got last, after a poll that raised: what it took is nowhere else any more."""
        for partition, offset in self._next.items():
            position = self.position(consumer, partition)
            if position is not None and position.offset != offset:
                self.skip(consumer, partition, offset, position.leader_epoch)

    def position(self, consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
        """Return where the client reads on, with its leader epoch; None where it does not know.

        The public method has no epoch, asks the brokers, and takes the one report of a truncation there is.
        """
        state = consumer._subscription.assignment.get(partition)  # noqa: SLF001
        return None if state is None else state.position

    def mark(self, consumer: Any, partition: TopicPartition, offset: int) -> OffsetAndMetadata:
        """Return what to commit when the owner is done with everything in front of an offset.

        Where that is all it was given, the commit goes on to the client's position: what lies between holds no records
        (the marks of transactions, what compaction left), and would look like a lag for ever.
        """
        position = self.position(consumer, partition)
        if position is None or partition not in self._returned:
            return OffsetAndMetadata(offset, self.topics.note(partition.topic), -1)
        if offset == self._returned[partition]:
            offset = max(offset, position.offset)
        return OffsetAndMetadata(offset, self.topics.note(partition.topic), position.leader_epoch)

    def kept(self, committed: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Note what is committed."""
        for partition, mark in committed.items():
            self._kept[partition] = mark.offset

    def waiting(self, partitions: Iterable[TopicPartition]) -> bool:
        """Return whether the owner got something that is not committed."""
        return any(self._kept[p] < self._returned[p] for p in partitions if p in self._kept)

    def passed(self, consumer: Any, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return what may be committed although the owner has nothing new: offsets without records were passed."""
        idle = [p for p in partitions if p in self._kept and self._kept[p] >= self._returned[p]]
        marks = {partition: self.mark(consumer, partition, self._returned[partition]) for partition in idle}
        return {partition: mark for partition, mark in marks.items() if mark.offset > self._kept[partition]}
