"""Detects dead brokers and missing topics: for both, `poll` returns nothing, as it does when idle.

Owns the way back to brokers that came back at other addresses. kafka-python asks only brokers that it knows; where all
of them are gone, it never connects again. Used by the owner's thread.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import BrokerResponseError, KafkaError
from kafka.structs import MemberState

from pipeline.config import KafkaSettings
from pipeline.kafka.advertised import FIX, unreachable
from pipeline.kafka.connection_internals import connected_addresses, is_throttled, longest_pause, reaches_leader
from pipeline.kafka.internals import knows_brokers, last_answer, partitions_of, throttled_seconds
from pipeline.kafka.source.consumer import ANSWER_TIMEOUT_MS, Troubles, cause_of, offsets
from pipeline.kafka.source.strangers import Strangers
from pipeline.kafka.source.throttling import Throttling
from pipeline.kafka.source.transactions import End, OpenTransactions

log = structlog.get_logger(__name__)

MAX_UNANSWERED: Final = 2
"""So many requests without an answer, one after the other, and the brokers count as away."""


class BrokerHealth:
    """Asks the brokers whenever the owner wants offsets of them, and counts the requests that had no answer.

    Attributes:
        transactions: what waits for a producer, in partitions that look read to their end.
        throttling: for how long brokers have made this member wait.
        strangers: members of other programs in the group.
    """

    def __init__(self, troubles: Troubles, settings: KafkaSettings) -> None:
        self._troubles = troubles
        self._unanswered = 0
        self._missing: tuple[list[str], float] = ([], 0.0)
        self._addresses = set(settings.bootstrap_servers)
        self.transactions = OpenTransactions(settings)
        self.throttling = Throttling(settings.client_id)
        self.strangers = Strangers(settings)

    def silent(self) -> bool:
        """Return whether the brokers count as away."""
        return self._unanswered >= MAX_UNANSWERED

    def ends(self, consumer: Any, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, End]:
        """Return where partitions end; empty where the brokers do not answer.

        A consumer without partitions that is not even a member asks the configured servers for the cluster instead. A
        broker that has ordered a pause is not asked: what it said before holds on.
        """
        wanted = list(partitions)
        free = [partition for partition in wanted if not is_throttled(consumer, partition)]
        waited = throttled_seconds(consumer)
        try:
            if not wanted and consumer.group_metadata().state is not MemberState.STABLE:
                consumer.bootstrap(timeout_ms=ANSWER_TIMEOUT_MS, refresh=True)
                if self._elsewhere(consumer):
                    return {}
            found = offsets(consumer.end_offsets, free, ANSWER_TIMEOUT_MS) if free else {}
        except KafkaError as error:
            paused = throttled_seconds(consumer) > waited and all(reaches_leader(consumer, part) for part in free)
            if not paused:
                self._unheard(consumer, error)
                return {}
            found = {}
        self.answered()
        self._addresses |= connected_addresses(consumer)
        self.throttling.look(consumer)
        self.strangers.look(consumer)
        return self.transactions.look(consumer, found, wanted)

    def _unheard(self, consumer: Any, error: KafkaError) -> None:
        self._unanswered += 1
        if self.silent() and not (_found_again(consumer) and self._elsewhere(consumer)):
            self._troubles.raise_("brokers", f"Kafka does not answer: {error}")

    def why(self, consumer: Any, error: KafkaError) -> str:
        """Return why a request failed: a pause that a broker ordered, brokers that are elsewhere, or what it says."""
        pause = longest_pause(consumer)
        if pause:
            return f"a broker's quota makes the daemon wait for {pause:.1f} s"
        answered = isinstance(error, BrokerResponseError)
        where = "" if answered else unreachable(consumer, self._addresses, ANSWER_TIMEOUT_MS / 1000)
        return f"{where}; {FIX}" if where else cause_of(error)

    def _elsewhere(self, consumer: Any) -> bool:
        """Return whether the cluster is known, and names brokers that are not there; name them."""
        where = unreachable(consumer, self._addresses, ANSWER_TIMEOUT_MS / 1000)
        if where:
            self._troubles.raise_("brokers", f"Kafka answers, but {where}; {FIX}")
        return bool(where)

    def answered(self) -> None:
        """Count from zero again."""
        self._unanswered = 0
        self._troubles.clear("brokers")

    def leave(self, consumer: Any) -> None:
        """Forget what was seen through a consumer that is closed now, but not for how long it had to wait."""
        self.answered()
        self.throttling.leave(consumer)
        self.transactions.forget()

    def remarks(self) -> list[str]:
        """Return what is not as it should be and stops nothing. For any thread."""
        return [remark for remark in (self.throttling.remark, self.strangers.remark) if remark is not None]

    def look_for(self, consumer: Any, topics: Iterable[str]) -> None:
        """Name the topics that are not there, where an answer of the brokers between two looks lacked them, too."""
        missing = [repr(topic) for topic in topics if not partitions_of(consumer, topic)]
        before, self._missing = self._missing, (missing, last_answer(consumer))
        if missing and missing == before[0] and self._missing[1] > before[1] and knows_brokers(consumer):
            self._troubles.raise_(
                "topics", f"topic {', '.join(missing)} does not exist, or may not be described by this user"
            )
        elif not missing:
            self._troubles.clear("topics")


def _found_again(consumer: Any) -> bool:
    """Ask the configured servers where the cluster is now; group and positions stay as they are."""
    try:
        consumer.bootstrap(timeout_ms=ANSWER_TIMEOUT_MS, refresh=True)
    except KafkaError as error:
        log.debug("bootstrap_unanswered", message="the configured servers do not answer either", cause=str(error))
        return False
    return True
