"""Whether every partition has an owner in the group, looked at where Kafka itself does not.

New partitions get an owner when the member that leads the group notices them. A static member whose process was
restarted joins without a rebalance: it gets the partitions that it had, does not know whether it leads, and cannot
notice what was added before it came. So each static member looks by itself, when it has joined and whenever the number
of partitions changes, and asks for a rebalance where it finds partitions without an owner.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from kafka.errors import KafkaError

from pipeline.kafka import group_internals
from pipeline.kafka.internals import partitions_of

log = structlog.get_logger(__name__)


MAX_REQUESTS: Final = 5
"""So often a rebalance is asked for before it is no help: another program in the group may share out its own topics."""


class Ownership:
    """What one consumer has seen of it. Used by the owner's thread."""

    def __init__(self) -> None:
        self._complete: Mapping[str, int] = {}
        self._missing: set[Any] = set()
        self._requests = 0

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
        if not missing or self._requests == MAX_REQUESTS:
            self._complete, self._requests = counts, 0
        elif missing == self._missing:
            message = "partitions have no owner in the group: it is rebalanced"
            log.warning("rebalance_requested", message=message, partitions=sorted(map(_label, missing)))
            group_internals.join_again(consumer)
            self._requests += 1
            missing = set()
        self._missing = missing


def _label(partition: Any) -> str:
    return f"{partition.topic}/{partition.partition}"
