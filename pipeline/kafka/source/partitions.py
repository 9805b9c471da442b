"""The partitions that this member has, the state of each, and the events about them that the owner fetches.

                assigned             its committed offset is found
    elsewhere ------------> unstarted ----------------------------> flowing
                                ^                                      |
                                | start_again                          | halt
                                +--------------- halted <--------------+

    unstarted, flowing, halted ------ revoked, lost, or the consumer is recreated ------> elsewhere

An *unstarted* partition has no position yet: what a poll returns of it is thrown away. One that is *started* has a
position: it is *flowing*, or *halted* with a cause until it is started again. *Paused* is no state of a partition but
of the source: the client is paused for all of them, those that are assigned later, too.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from kafka import TopicPartition

from pipeline.contracts import Assigned, Change, Withdrawn
from pipeline.kafka.source.consumer import Inbox, log_fields, name
from pipeline.kafka.source.positions import Positions
from pipeline.records import Partition

log = structlog.get_logger(__name__)


class Partitions:
    """The states of this member's partitions. Used by the owner's thread, but for `halted`.

    Attributes:
        unstarted: those that have no position yet.
        halted: those that are not read on, with the cause. For any thread.
    """

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._owned: set[TopicPartition] = set()
        self._events: list[Change] = []
        self.unstarted: set[TopicPartition] = set()
        self.halted: dict[Partition, str] = {}

    def events(self) -> Sequence[Change]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def emit(self, event: Change) -> None:
        """Keep an event for the owner."""
        self._events.append(event)

    def follow(self, inbox: Inbox) -> None:
        """Turn what the listener saw into events."""
        while inbox.seen:
            kind, partition = inbox.seen.popleft()
            if kind == "assigned":
                self._owned.add(partition)
                self.unstarted.add(partition)
                self.emit(Assigned(name(partition)))
            elif partition in self._owned:
                self._withdraw(partition, lost=kind == "lost")

    def started(self, consumer: Any) -> set[TopicPartition]:
        """Return those that have a position."""
        assigned: set[TopicPartition] = consumer.assignment()
        return (self._owned & assigned) - self.unstarted

    def flowing(self, consumer: Any) -> set[TopicPartition]:
        """Return those that deliver while the source is not paused."""
        return self.started(consumer) - {TopicPartition(*partition) for partition in self.halted}

    def halt(self, consumer: Any, partition: TopicPartition, cause: str) -> None:
        """Stop reading one partition, at once; the others continue."""
        if partition not in consumer.assignment():
            return
        consumer.pause(partition)
        if name(partition) not in self.halted:
            message = "the partition is not read on; the others are"
            log.error("partition_halted", message=message, **log_fields(partition), cause=cause)
        self.halted[name(partition)] = cause

    def start_again(self, partition: TopicPartition) -> None:
        """Let a partition start once more at its committed offset."""
        if self.halted.pop(name(partition), None) is not None:
            message = "the halted partition is read again from its committed offset"
            log.info("partition_resumed", message=message, **log_fields(partition))
        if partition in self._owned:
            self._positions.forget(partition)
            self.unstarted.add(partition)

    def void(self, partition: TopicPartition) -> None:
        """Let the owner drop what it has of a partition, by a loss and an assignment that never took place.

        What it reads from now on lies at offsets that it has seen before, and a commit of those would be wrong.
        """
        self.emit(Withdrawn(name(partition), lost=True))
        self.emit(Assigned(name(partition)))

    def withdraw_all(self) -> None:
        """Lose all: there is no consumer any more."""
        for partition in sorted(self._owned):
            self._withdraw(partition, lost=True)
        self.halted.clear()

    def _withdraw(self, partition: TopicPartition, *, lost: bool) -> None:
        self._owned.discard(partition)
        self.unstarted.discard(partition)
        self._positions.forget(partition)
        self.halted.pop(name(partition), None)
        self.emit(Withdrawn(name(partition), lost=lost))
