"""The partitions that are ours: which wait for their start, which are halted, and what the owner is told of them."""

from collections.abc import Sequence
from typing import Any

import structlog
from kafka import TopicPartition

from pipeline.contracts import Assigned, Change, Withdrawn
from pipeline.kafka.source.consumer import Inbox, name, words
from pipeline.kafka.source.positions import Positions
from pipeline.records import Partition

log = structlog.get_logger(__name__)


class Partitions:
    """What rebalances made of us. Used by the owner's thread, but for `halted`.

    Attributes:
        unstarted: those that are ours and have no position yet; they do not flow.
        halted: those that are not read on, with the cause. For any thread.
    """

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._owned: set[TopicPartition] = set()
        self._changes: list[Change] = []
        self.unstarted: set[TopicPartition] = set()
        self.halted: dict[Partition, str] = {}

    def told(self) -> Sequence[Change]:
        """Return what happened since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def tell(self, change: Change) -> None:
        """Let the owner know."""
        self._changes.append(change)

    def follow(self, inbox: Inbox) -> None:
        """Turn what the listener saw into changes."""
        while inbox.seen:
            kind, partition = inbox.seen.popleft()
            if kind == "assigned":
                self._owned.add(partition)
                self.unstarted.add(partition)
                self.tell(Assigned(name(partition)))
            elif partition in self._owned:
                self._withdraw(partition, lost=kind == "lost")

    def started(self, consumer: Any) -> set[TopicPartition]:
        """Return those that have a position."""
        assigned: set[TopicPartition] = consumer.assignment()
        return (self._owned & assigned) - self.unstarted

    def flowing(self, consumer: Any) -> set[TopicPartition]:
        """Return those that may deliver."""
        return self.started(consumer) - {TopicPartition(*partition) for partition in self.halted}

    def halt(self, consumer: Any, partition: TopicPartition, cause: str) -> None:
        """Stop reading one partition, at once; the others flow on."""
        if partition not in consumer.assignment():
            return
        consumer.pause(partition)
        if name(partition) not in self.halted:
            log.error("partition halted", **words(partition), cause=cause)
        self.halted[name(partition)] = cause

    def start_again(self, partition: TopicPartition) -> None:
        """Let a partition start once more where its committed offset says."""
        if self.halted.pop(name(partition), None) is not None:
            log.info("halted partition is tried again", **words(partition))
        if partition in self._owned:
            self._positions.forget(partition)
            self.unstarted.add(partition)

    def void(self, partition: TopicPartition) -> None:
        """Let the owner drop what it has of a partition, as if it had been lost and came back.

        What it reads from now on lies at offsets that it has seen before, and a commit of those would be wrong.
        """
        self.tell(Withdrawn(name(partition), lost=True))
        self.tell(Assigned(name(partition)))

    def give_up(self) -> None:
        """Lose all: there is no consumer any more."""
        for partition in sorted(self._owned):
            self._withdraw(partition, lost=True)
        self.halted.clear()

    def _withdraw(self, partition: TopicPartition, *, lost: bool) -> None:
        self._owned.discard(partition)
        self.unstarted.discard(partition)
        self._positions.forget(partition)
        self.halted.pop(name(partition), None)
        self.tell(Withdrawn(name(partition), lost=lost))
