"""Whether the brokers answer, and have our topics: what `poll` shows none of, since it is empty then as at rest.

Owns the way back to brokers that came back at other addresses. kafka-python asks only brokers that it knows; where all
of them are gone, it would wait for ever. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import MemberState

from pipeline.kafka.source.consumer import PATIENCE_MS, Troubles, offsets

log = structlog.get_logger(__name__)

SILENCE: Final = 2
"""So many questions without an answer, one after the other, and the brokers count as away."""


class Brokers:
    """Asks now and then, and remembers for how long there was no answer."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._unanswered = 0
        self._missing: list[str] = []

    def silent(self) -> bool:
        """Return whether they count as away."""
        return self._unanswered >= SILENCE

    def ends(self, consumer: Any, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offsets behind the last records; empty where the brokers do not answer.

        Who has no partitions, and is not even a member, asks the servers that it was configured with for the cluster.
        """
        asked = list(partitions)
        try:
            if not asked and consumer.group_metadata().state is not MemberState.STABLE:
                consumer.bootstrap(timeout_ms=PATIENCE_MS, refresh=True)
            ends = offsets(consumer.end_offsets, asked, PATIENCE_MS) if asked else {}
        except KafkaError as error:
            self._unanswered += 1
            if self.silent():
                self._troubles.begin("brokers", f"Kafka does not answer: {error}")
                _find_again(consumer)
            return {}
        self.answered()
        return ends

    def answered(self) -> None:
        """Begin anew, as with another consumer."""
        self._unanswered = 0
        self._troubles.end("brokers")

    def look_for(self, consumer: Any, topics: Iterable[str]) -> None:
        """Name the topics that are not there, at the second look: a new client has not heard of any yet."""
        cluster = consumer._cluster  # noqa: SLF001 - the public way asks for all topics, and waits
        missing = [repr(topic) for topic in topics if not cluster.partitions_for_topic(topic)]
        before, self._missing = self._missing, missing
        if missing and missing == before and cluster.brokers():
            self._troubles.begin(
                "topics", f"topic {', '.join(missing)} does not exist, or may not be described by this user"
            )
        elif not missing:
            self._troubles.end("topics")


def _find_again(consumer: Any) -> None:
    """Ask the configured servers where the cluster is now; group and positions stay as they are."""
    try:
        consumer.bootstrap(timeout_ms=PATIENCE_MS, refresh=True)
    except KafkaError as error:
        log.debug("the configured servers do not answer either", cause=str(error))
