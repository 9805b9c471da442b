"""Which topic a name stands for: its id, kept in the metadata of the daemon's commits.

A topic that was deleted and recreated has other records at the same offsets. Kafka deletes a group's offsets with the
topic, but accepts the commit of a member that has not noticed; so each commit names the id of its topic. With
`kafka.start = "latest"` it also names how many partitions the topic had when the group first started, since only those
begin at their end. Commits of other tools name neither, and are believed. Used by the owner's thread.
"""

import re
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.kafka.internals import committed_offsets, partitions_of, refresh_metadata, topic_id

log = structlog.get_logger(__name__)

_TOPIC_ID: Final = re.compile(r"\btopic_id=([0-9a-f]{32})\b")
_PARTITIONS: Final = re.compile(r"\bpartitions=(\d{1,9})\b")


class TopicIdentities:
    """The identity of each topic as it is believed to be, and how many partitions it had at the first start."""

    def __init__(self) -> None:
        self._identities: dict[str, Any] = {}
        self._recreated: set[str] = set()
        self._first_partitions: dict[str, int] = {}

    def metadata(self, topic: str) -> str:
        """Return the metadata of a commit: the id of its topic, and its first number of partitions."""
        identity, partitions = self._identities.get(topic), self._first_partitions.get(topic)
        words = [] if identity is None else [f"topic_id={identity.hex}"]
        return " ".join(words if partitions is None else [*words, f"partitions={partitions}"])

    def recreated(self, consumer: Any, topics: tuple[str, ...]) -> set[str]:
        """Return the topics that are not the ones they were, once each: other records have the same offsets."""
        recreated = set()
        for topic in topics:
            identity = topic_id(consumer, topic)
            if identity is None:
                continue
            if self._identities.setdefault(topic, identity) != identity:
                recreated.add(topic)
                self._identities[topic] = identity
        self._recreated |= recreated
        return recreated

    def is_of(self, consumer: Any, topic: str, committed: OffsetAndMetadata, timeout_ms: int) -> bool:
        """Return whether an offset was committed for this topic, and not for one of the same name before it.

        The client's metadata may be older than the commit: before a difference counts, the brokers are asked again.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        found = _TOPIC_ID.search(committed.metadata or "")
        if found is None or _may_be(consumer, topic, found[1]):
            return True
        refresh_metadata(consumer, timeout_ms)
        if _may_be(consumer, topic, found[1]):
            return True
        self._recreated.add(topic)
        message = "the committed offset is of a topic that was deleted: the new one is read from its start"
        log.error("topic_recreated", message=message, topic=topic)
        return False

    def remember(self, topic: str, committed: OffsetAndMetadata) -> None:
        """Keep the first number of partitions that a commit names, for the next commits."""
        found = _PARTITIONS.search(committed.metadata or "")
        if found is not None:
            self._first_partitions.setdefault(topic, int(found[1]))

    def starts_at_end(self, consumer: Any, partition: TopicPartition, timeout_ms: int) -> bool:
        """Return whether a partition without a committed offset was there when the group first started.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        topic = partition.topic
        if topic in self._recreated:
            return False
        numbers = partitions_of(consumer, topic) or {partition.partition}
        everywhere = [TopicPartition(topic, number) for number in sorted(numbers)]
        committed = committed_offsets(consumer, everywhere, timeout_ms)
        for offset in committed.values():
            self.remember(topic, offset)
        if not committed:
            self._first_partitions.setdefault(topic, len(numbers))
        number: int = partition.partition
        return number < self._first_partitions.get(topic, 0)


def _may_be(consumer: Any, topic: str, identity: str) -> bool:
    """Return whether a topic has that identity, as far as the client knows."""
    known = topic_id(consumer, topic)
    return known is None or known.hex == identity
