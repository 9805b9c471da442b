"""Where each partition is read on: the daemon's own book, since the client's positions cannot be trusted.

Owns the start of a partition, the way back after a poll that failed, and the notice of a topic that was made again.
kafka-python moves its position when it takes records out of its buffer, and can then still raise instead of returning
them: it does so where the fetch of what comes next cannot be sent. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError, LogTruncationError
from kafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.source.consumer import offsets, words

log = structlog.get_logger(__name__)


class Positions:
    """The next offset of each partition that is read, and the identity of each topic."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._latest = settings.start == "latest"
        self._topics = settings.topics
        self._next: dict[TopicPartition, int] = {}
        self._identities: dict[str, Any] = {}

    def start(self, consumer: Any, partition: TopicPartition, timeout_ms: int) -> None:
        """Start a partition at its committed offset, or where `kafka.start` says.

        The client keeps its position in a partition that leaves and comes back within one rebalance, so the position is
        always set. An end that was chosen is committed at once: else the next owner would choose a later one, and what
        came in between would be nobody's.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        offset = consumer.committed(partition, timeout_ms=timeout_ms)
        if offset is None:
            ask = consumer.end_offsets if self._latest else consumer.beginning_offsets
            offset = offsets(ask, [partition], timeout_ms)[partition]
            if self._latest:
                consumer.commit({partition: OffsetAndMetadata(offset, "", -1)}, timeout_ms=timeout_ms)
            log.info("nothing committed", **words(partition), start=offset)
        self.move(consumer, partition, offset)

    def move(self, consumer: Any, partition: TopicPartition, offset: int) -> None:
        """Read on at that offset."""
        consumer.seek(partition, offset)
        self._next[partition] = offset

    def move_to_beginning(self, consumer: Any, partitions: Iterable[TopicPartition]) -> None:
        """Read on at the first record there is; the client asks for it at its next polls."""
        for partition in partitions:
            consumer.seek_to_beginning(partition)
            self._next.pop(partition, None)

    def follow_truncation(self, consumer: Any, error: LogTruncationError) -> None:
        """Go back to where the log and what we have read part; to its beginning where nobody knows."""
        for partition in error.divergent_offsets.keys() & consumer.assignment():
            divergent = error.divergent_offsets[partition]
            log.error("the log was truncated", **words(partition), at=divergent and divergent.offset)
            if divergent is None:
                self.move_to_beginning(consumer, [partition])
            else:
                self.move(consumer, partition, divergent.offset)

    def returned(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Note what the owner gets."""
        for partition, records in polled.items():
            self._next[partition] = records[-1].offset + 1

    def forget(self, partition: TopicPartition) -> None:
        """End the book of a partition that is not ours any more."""
        self._next.pop(partition, None)

    def rewind(self, consumer: Any) -> None:
        """Go back to what the owner got last, after a poll that raised: what it took is nowhere else any more."""
        for partition in self._next.keys() & consumer.assignment():
            try:
                position = consumer.position(partition, timeout_ms=0)
            except KafkaError:
                position = None
            if position != self._next[partition]:
                consumer.seek(partition, self._next[partition])

    def recreated(self, consumer: Any) -> set[str]:
        """Return the topics that are not the ones they were, once each: other records have the same offsets."""
        again = set()
        for topic in self._topics:
            identity = consumer._cluster.topic_id(topic)  # noqa: SLF001 - public only in the admin client, as a request
            if identity is None:
                continue
            if self._identities.get(topic, identity) != identity:
                again.add(topic)
            self._identities[topic] = identity
        return again
