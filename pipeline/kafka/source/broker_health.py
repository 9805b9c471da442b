"""Detects dead brokers and missing topics: for both, `poll` returns nothing, as it does when idle.

Owns the way back to brokers that came back at other addresses. kafka-python asks only brokers that it knows; where all
of them are gone, it never connects again. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import MemberState

from pipeline.kafka.internals import knows_brokers, partitions_of
from pipeline.kafka.source.consumer import ANSWER_TIMEOUT_MS, Troubles, offsets

log = structlog.get_logger(__name__)

MAX_UNANSWERED: Final = 2
"""So many requests without an answer, one after the other, and the brokers count as away."""


class BrokerHealth:
    """Asks the brokers whenever the owner wants offsets of them, and counts the requests that had no answer."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self._unanswered = 0
        self._missing: list[str] = []

    def silent(self) -> bool:
        """Return whether the brokers count as away."""
        return self._unanswered >= MAX_UNANSWERED

    def ends(self, consumer: Any, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offsets behind the last records; empty where the brokers do not answer.

        A consumer without partitions that is not even a member asks the configured servers for the cluster instead.
        """
        wanted = list(partitions)
        try:
            if not wanted and consumer.group_metadata().state is not MemberState.STABLE:
                consumer.bootstrap(timeout_ms=ANSWER_TIMEOUT_MS, refresh=True)
            ends = offsets(consumer.end_offsets, wanted, ANSWER_TIMEOUT_MS) if wanted else {}
        except KafkaError as error:
            self._unanswered += 1
            if self.silent():
                self._troubles.raise_("brokers", f"Kafka does not answer: {error}")
                _find_again(consumer)
            return {}
        self.answered()
        return ends

    def answered(self) -> None:
        """Count from zero again, as with another consumer."""
        self._unanswered = 0
        self._troubles.clear("brokers")

    def look_for(self, consumer: Any, topics: Iterable[str]) -> None:
        """Name the topics that are not there, at the second look: a new client does not know any yet."""
        missing = [repr(topic) for topic in topics if not partitions_of(consumer, topic)]
        before, self._missing = self._missing, missing
        if missing and missing == before and knows_brokers(consumer):
            self._troubles.raise_(
                "topics", f"topic {', '.join(missing)} does not exist, or may not be described by this user"
            )
        elif not missing:
            self._troubles.clear("topics")


def _find_again(consumer: Any) -> None:
    """Ask the configured servers where the cluster is now; group and positions stay as they are."""
    try:
        consumer.bootstrap(timeout_ms=ANSWER_TIMEOUT_MS, refresh=True)
    except KafkaError as error:
        log.debug("bootstrap_unanswered", message="the configured servers do not answer either", cause=str(error))
