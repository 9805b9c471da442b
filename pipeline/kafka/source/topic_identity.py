"""Which topic it is: what a name cannot say, kept in the metadata of our commits.

A topic that was deleted and made again has other records at the same offsets. Kafka deletes a group's offsets with the
topic, but takes the commit of a member that has not noticed; so each commit says of which topic it is. With
`kafka.start = "latest"` it also says how many partitions the topic had when the group first started, since only those
begin at their end. Commits of other tools say neither, and are believed.
"""

import re
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

log = structlog.get_logger(__name__)

_TOPIC_ID: Final = re.compile(r"\btopic_id=([0-9a-f]{32})\b")
_PARTITIONS: Final = re.compile(r"\bpartitions=(\d{1,9})\b")


class Topics:
    """The identity of each topic as it is believed to be, and how many partitions it had at the first start."""

    def __init__(self) -> None:
        self._identities: dict[str, Any] = {}
        self._made_again: set[str] = set()
        self._first_partitions: dict[str, int] = {}

    def note(self, topic: str) -> str:
        """Return what a commit says of its topic."""
        identity, partitions = self._identities.get(topic), self._first_partitions.get(topic)
        words = [] if identity is None else [f"topic_id={identity.hex}"]
        return " ".join(words if partitions is None else [*words, f"partitions={partitions}"])

    def recreated(self, consumer: Any, topics: tuple[str, ...]) -> set[str]:
        """Return the topics that are not the ones they were, once each: other records have the same offsets."""
        again = set()
        for topic in topics:
            # Public only in the admin client, as a request.
            identity = consumer._cluster.topic_id(topic)  # noqa: SLF001
            if identity is None:
                continue
            if self._identities.setdefault(topic, identity) != identity:
                again.add(topic)
                self._identities[topic] = identity
        self._made_again |= again
        return again

    def is_ours(self, consumer: Any, topic: str, committed: OffsetAndMetadata, timeout_ms: int) -> bool:
        """Return whether an offset was committed for this topic, and not for one of the same name before it.

        Who seems to be wrong may only know less: before a difference counts, the brokers are asked again.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        found = _TOPIC_ID.search(committed.metadata or "")
        cluster = consumer._cluster  # noqa: SLF001 - as above
        if found is None or cluster.topic_id(topic) is None or found[1] == cluster.topic_id(topic).hex:
            return True
        _ask_again(consumer, timeout_ms)
        if cluster.topic_id(topic) is None or found[1] == cluster.topic_id(topic).hex:
            return True
        self._made_again.add(topic)
        log.error(
            "the committed offset is of a topic that was deleted: the new one is read from its start", topic=topic
        )
        return False

    def remember(self, topic: str, committed: OffsetAndMetadata) -> None:
        """Keep what a commit says, for ours to say it too."""
        found = _PARTITIONS.search(committed.metadata or "")
        if found is not None:
            self._first_partitions.setdefault(topic, int(found[1]))

    def starts_at_end(self, consumer: Any, partition: TopicPartition, timeout_ms: int) -> bool:
        """Return whether a partition without a committed offset was there when the group first started.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        topic = partition.topic
        if topic in self._made_again:
            return False
        numbers = consumer._cluster.partitions_for_topic(topic) or {partition.partition}  # noqa: SLF001 - as above
        everywhere = [TopicPartition(topic, number) for number in sorted(numbers)]
        # Public only one by one.
        committed = consumer._coordinator.fetch_committed_offsets(everywhere, timeout_ms=timeout_ms)  # noqa: SLF001
        for offset in committed.values():
            self.remember(topic, offset)
        if not committed:
            self._first_partitions.setdefault(topic, len(numbers))
        number: int = partition.partition
        return number < self._first_partitions.get(topic, 0)


def _ask_again(consumer: Any, timeout_ms: int) -> None:
    """Wait for new metadata.

    Raises:
        KafkaError: it did not come in time.
    """
    manager = consumer._manager  # noqa: SLF001 - the public ways ask for all topics of the cluster

    async def asked() -> None:
        await manager.wait_for(manager.cluster.request_update(), timeout_ms)

    manager.run(asked)
