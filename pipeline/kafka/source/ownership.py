"""Whether every partition has an owner in the group, looked at where Kafka itself does not.

New partitions get an owner when the member that leads the group notices them. A static member whose process was
restarted joins without a rebalance: it gets the partitions that it had, does not know whether it leads, and cannot
notice what was added before it came. So each static member looks by itself, when it has joined and whenever the number
of partitions changes, and asks for a rebalance where it finds partitions without an owner.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from kafka.errors import KafkaError

from pipeline.kafka import group_internals
from pipeline.kafka.internals import partitions_of

log = structlog.get_logger(__name__)


class Ownership:
    """What one consumer has seen of it. Used by the owner's thread."""

    def __init__(self) -> None:
        self._complete: Mapping[str, int] = {}
        self._missing: set[Any] = set()

    def look_after(self, consumer: Any, topics: Sequence[str], timeout_ms: int) -> None:
        """Ask for a rebalance if partitions are without an owner, seen twice: in a rebalance they are for a moment."""
        counts = {topic: len(partitions_of(consumer, topic)) for topic in topics}
        if counts == self._complete or group_internals.settled_generation(consumer) is None:
            return
        try:
            missing = group_internals.unowned(consumer, topics, timeout_ms)
        except KafkaError as error:
            log.debug("owners_unknown", message="the group cannot be described, it is tried again", cause=str(error))
            return
        if missing is None:
            return
        if not missing:
            self._complete = counts
        elif missing == self._missing:
            message = "partitions have no owner in the group: it is rebalanced"
            log.warning(
                "rebalance_requested", message=message, partitions=[f"{p.topic}/{p.partition}" for p in missing]
            )
            group_internals.join_again(consumer)
        self._missing = missing
