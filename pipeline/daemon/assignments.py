"""The partitions that the group has assigned to this member, and which of them are read.

Owns the assignments, the rejection limits that halt a partition, and when a halted one is tried again. Runs on the
owner's thread; any may read `current` and call `places`. Rows and offsets are the processor's: what it has buffered of
a partition is void when a method here says so.

    A partition, as this member sees it:

    another member's ──> Assigned ──> assigned ── first poll ──> read <─────────────> paused
        ▲                                ▲                        │   all partitions at once, while the sink is in
        │                                │                        │   trouble or two batches are full
        │                                │                        ▼
        │                                └── retry.halted_delay ─ halted   too many rejected records, an unclassified
        │                                    later                         insert failure, a codec that is missing
        │
        └── Withdrawn <── any of these states
            revoked: in a rebalance, after a chance to commit; lost: put out of the group, without one

Each `Assigned`, and each resumption after a halt, makes a new `Assignment`. Its identity is compared before a commit.
What was read under an earlier one is not committed: the partition's next owner, or this member, reads it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from pipeline.config import Settings
from pipeline.contracts import Assigned, Change, OffsetsLost, Progress, Source, Withdrawn
from pipeline.daemon.batch import Assignment
from pipeline.daemon.rejection_limits import RejectionLimits
from pipeline.metrics import Metrics
from pipeline.records import InvalidRecord, Partition, Record

log = structlog.get_logger(__name__)

LAG_INTERVAL_S: Final = 5.0
"""Between requests for the lag, which cost the broker something."""


class Assignments:
    """This member's partitions, by what the source reports.

    Attributes:
        current: the assignment of each partition that is this member's now.
    """

    def __init__(self, source: Source, metrics: Metrics, settings: Settings) -> None:
        self._source = source
        self._metrics = metrics
        self._max_rejected = settings.dead_letter.max_consecutive, settings.dead_letter.max_ratio
        self._halted_delay = settings.retry.halted_delay
        self._halted_since: dict[Partition, float] = {}
        self._measured_at = -LAG_INTERVAL_S
        self.current: dict[Partition, Assignment] = {}
        self._progress: Mapping[Partition, Progress] = {}

    def follow(self, change: Change) -> None:
        """Take in what happened to a partition; rows of one that is withdrawn are void."""
        partition = change.partition
        place = {"topic": partition.topic, "partition": partition.number}
        match change:
            case Assigned():
                limits, sink_limits = RejectionLimits(*self._max_rejected), RejectionLimits(*self._max_rejected)
                self.current[partition] = Assignment(partition, None, limits, sink_limits)
                self._metrics.rebalanced("assigned")
                log.info("partition_assigned", message="this member reads the partition from now on", **place)
            case Withdrawn(lost=True):
                self._withdraw(partition, "lost")
                log.info("partition_lost", message="the group took the partition without a chance to commit", **place)
            case Withdrawn():
                self._withdraw(partition, "revoked")
                log.info("partition_revoked", message="another member may read the partition", **place)
            case OffsetsLost(first=first, last=last):
                self._metrics.records_lost(partition, last - first + 1)
        self._metrics.assigned(len(self.current))

    def _withdraw(self, partition: Partition, how: str) -> None:
        self.current.pop(partition, None)
        self._forget_progress(partition)
        self._metrics.forget(partition)
        self._metrics.rebalanced(how)

    def is_current(self, assignment: Assignment) -> bool:
        """Return whether what was read under an assignment is still this member's to commit."""
        return self.current.get(assignment.partition) is assignment

    def readable(self, partition: Partition) -> Assignment | None:
        """Return the assignment of a partition whose records are wanted; None if it is halted or another member's."""
        return None if partition in self._source.halted else self.current.get(partition)

    def within_limits(
        self, assignment: Assignment, records: Sequence[Record], dead_letters: Sequence[InvalidRecord]
    ) -> bool:
        """Return whether the dead letters among these records are within the limits; else halt in front of them."""
        if not dead_letters:
            assignment.limits.note(len(records), (), 0)
            return True
        last = 0
        while last < len(dead_letters) and dead_letters[-1 - last].record is records[-1 - last]:
            last += 1
        limits = replace(assignment.limits)
        limits.note(len(records), [dead_letter.reason for dead_letter in dead_letters], last)
        excess = limits.excess()
        if excess is None:
            assignment.limits = limits
            return True
        newest = dead_letters[-1]
        latest = f"the latest at offset {newest.record.offset}, with: {newest.detail}"
        self._source.halt(assignment.partition, excess.cause(assignment.partition, latest))
        return False

    def give_up(self, assignment: Assignment, cause: str) -> bool:
        """Halt a partition whose rows were not inserted; return whether that makes its buffered rows void."""
        current = self.is_current(assignment)
        if current:
            self._source.halt(assignment.partition, cause)
        return current

    def resume_halted(self, now: float) -> list[Partition]:
        """Read halted partitions again after a delay, from what is committed: what stopped them may be fixed.

        Returns:
            Those that are read again; their buffered rows are void.
        """
        halted = self._source.halted
        if halted or self._halted_since:
            self._halted_since = {partition: self._halted_since.get(partition, now) for partition in halted}
        resumed = []
        for partition, since in self._halted_since.items():
            assignment = self.current.get(partition)
            if assignment is not None and now - since >= self._halted_delay:
                self.current[partition] = replace(assignment, counted=None, next_offset=None)
                self._forget_progress(partition)
                self._halted_since[partition] = now
                self._source.resume_halted(partition)
                resumed.append(partition)
        return resumed

    def observe(self, now: float) -> None:
        """Report to the metrics how many partitions are halted and, every 5 s, how far each lags behind."""
        self._metrics.halted(len(self._source.halted))
        if now - self._measured_at >= LAG_INTERVAL_S:
            self._measured_at = now
            self._progress = dict(self._source.progress())
            self._metrics.throttled(self._source.throttled())
            for partition in self.current:
                place = self._place(partition)
                self._metrics.lag(partition, place["lag"])
                self._metrics.unstable(partition, place["unstable"])

    def places(self) -> Mapping[str, Mapping[str, int | None]]:
        """Return position, committed offset, lag and what is not readable yet, by partition. For any thread."""
        return {f"{partition.topic}/{partition.number}": self._place(partition) for partition in list(self.current)}

    def _place(self, partition: Partition) -> Mapping[str, int | None]:
        """Return where a partition is read now; position and lag add up to its end, as last seen.

        What is at hand is newer than what was last asked of Kafka, but knows only of offsets that hold records.
        """
        own, known = self.current.get(partition), self._progress.get(partition)
        committed = _later(own.committed if own else None, known.committed if known else None)
        position = _later(own.next_offset if own else None, known.position if known else None)
        if partition in self._source.halted:
            position = committed
        lag = None if known is None or position is None else max(known.end - position, 0)
        unstable = None if known is None else known.unstable
        return {"position": position, "committed": committed, "lag": lag, "unstable": unstable}

    def _forget_progress(self, partition: Partition) -> None:
        self._progress = {other: progress for other, progress in self._progress.items() if other != partition}


def _later(one: int | None, other: int | None) -> int | None:
    return max((offset for offset in (one, other) if offset is not None), default=None)
