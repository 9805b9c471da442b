"""Owners of the loop that have the order of things, or the book of assignments, wrong."""

from typing import Any

from pipeline.contracts import Withdrawn
from pipeline.daemon.batch import Batch
from pipeline.daemon.processor import Processor
from tests.simulation.mutants.change import Change


def commit_before_insert() -> list[Change]:
    """At most once: what is about to be written is committed already."""
    hand_over = Processor._hand_over

    def changed(self: Processor) -> None:
        if not self._writer.busy and self._durable is None and self._due():
            self._source.commit({p: part.next_offset for p, part in self._filling.parts.items() if part.records})
        hand_over(self)

    return [(Processor, "_hand_over", changed)]


def metrics_before_commit() -> list[Change]:
    """Count what is durable, then commit it."""

    def changed(self: Processor) -> None:
        fresh = self._durable is None
        self._durable = self._durable or self._writer.collect()
        if self._durable is None:
            return
        own = {p: part for p, part in self._durable.parts.items() if self.assignments.is_current(part.assignment)}
        for part in own.values() if fresh else ():
            self._publish(part, self._durable.acknowledged_at)
        if own and self._source.commit({p: part.next_offset for p, part in own.items()}) is None:
            return
        for part, cause in self._durable.given_up:
            self._give_up(part, cause)
        self._durable = None

    return [(Processor, "_conclude", changed)]


def late_commit_counted() -> list[Change]:
    """Ignore fencing: count what was written, no matter who may commit it."""
    conclude = Processor._conclude

    def changed(self: Processor) -> None:
        self._durable = batch = self._durable or self._writer.collect()
        conclude(self)
        if batch is not None and self._durable is None:
            for part in batch.parts.values():
                if not self.assignments.is_current(part.assignment):
                    self._publish(part, batch.acknowledged_at)

    return [(Processor, "_conclude", changed)]


def retained_rows_dropped() -> list[Change]:
    """Start afresh after a rebalance, and do not read the retained partitions again."""
    follow = Processor._follow

    def changed(self: Processor, change: Any) -> None:
        follow(self, change)
        if isinstance(change, Withdrawn):
            self._filling = Batch()

    return [(Processor, "_follow", changed)]


def assignments_compared_by_partition() -> list[Change]:
    """Commit what was read under an earlier assignment, if the partition was assigned again."""
    conclude = Processor._conclude

    def changed(self: Processor) -> None:
        self._durable = batch = self._durable or self._writer.collect()
        for partition, part in batch.parts.items() if batch is not None else ():
            if partition in self.assignments.current:
                part.assignment = self.assignments.current[partition]
        conclude(self)

    return [(Processor, "_conclude", changed)]


def rows_behind_a_halt_kept() -> list[Change]:
    """Halt a partition, and write and commit what was read behind the rows that were given up."""

    def changed(self: Processor, part: Any, cause: str) -> None:
        self.assignments.give_up(part.assignment, cause)

    return [(Processor, "_give_up", changed)]


def commit_of_the_position() -> list[Change]:
    """Commit what was read, not what was written."""
    conclude = Processor._conclude

    def changed(self: Processor) -> None:
        self._durable = batch = self._durable or self._writer.collect()
        for part in batch.parts.values() if batch is not None else ():
            part.next_offset = part.assignment.next_offset or part.next_offset
        conclude(self)

    return [(Processor, "_conclude", changed)]


def deferred_commit_forgotten() -> list[Change]:
    """Leave a commit that failed to the next batch's."""
    conclude = Processor._conclude

    def changed(self: Processor) -> None:
        conclude(self)
        self._durable = None

    return [(Processor, "_conclude", changed)]


def waiting_records_kept() -> list[Change]:
    """Drop the rows of a partition that is withdrawn, and read on what a poll had returned of it."""

    def changed(self: Processor, partition: Any) -> None:
        self._filling.drop(partition)

    return [(Processor, "_forget", changed)]


def waiting_records_lost() -> list[Change]:
    """Read of a poll what there is time for, and go on with the next one."""
    poll = Processor._poll

    def changed(self: Processor) -> Any:
        self._unread.clear()
        return poll(self)

    return [(Processor, "_poll", changed)]
