"""What the processor needs of the outside world, and nothing more.

Each Protocol has a real adapter (`KafkaSource`, `ClickHouseSink`, `KafkaDeadLetters`, `SystemClock`) and a fake in
`tests/support/fakes`; one contract suite runs on both.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from pipeline.records import InvalidRecord, Partition, Record

Columns: TypeAlias = Sequence[Sequence[Any]]
"""One sequence a column, in the order of `schemas.row.INGEST_COLUMNS`, all of one length."""

StepKey: TypeAlias = tuple[str, str, str]
"""thread_id, run_id, step_id: what makes a step the same step."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group assigned a partition to this member; reading starts at its committed offset, or by `kafka.start`."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A partition is no longer this member's: `lost` without a chance to commit, else revoked cleanly."""

    partition: Partition
    lost: bool


@dataclass(frozen=True, slots=True)
class OffsetsLost:
    """Kafka no longer holds the offsets from `first` to `last`, both included; they had not been read."""

    partition: Partition
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Kafka holds the offsets from `first` to `last`, both included, but no client can read them.

    It comes after everything before `first` was returned by `poll`, and before anything behind `last` is; reading
    continues behind `last`.
    """

    partition: Partition
    first: int
    last: int
    detail: str


Change: TypeAlias = Assigned | Withdrawn | OffsetsLost | Unreadable


class Progress(NamedTuple):
    """How far a partition is read, at one moment."""

    position: int
    """The next offset that `poll` delivers; of a halted partition the one where it starts again, its committed one."""
    committed: int
    """Where its next owner starts."""
    end: int
    """Behind the last record that can be read: the last stable offset; never below the position."""
    unstable: int = 0
    """Offsets behind the end, which wait until a producer's transaction ends."""

    @property
    def lag(self) -> int:
        """What Kafka holds and `poll` has yet to deliver."""
        return self.end - self.position


class Source(Protocol):
    """A member of a consumer group. Used by one thread, the owner's, except where a method says otherwise.

    Attributes:
        halted: partitions that are not read while the others are, with the cause. For any thread.
    """

    halted: dict[Partition, str]

    @property
    def troubles(self) -> Mapping[str, str]:
        """What does not work although `poll` raises nothing, with the cause. For any thread."""

    def poll(self, timeout: float, most: int) -> Mapping[Partition, Sequence[Record]]:
        """Return what arrived within `timeout` seconds, at most so many records; empty during an outage.

        Raises:
            SourceUnavailable: the group cannot be joined or the topics cannot be read; polling again may succeed.
        """

    def changes(self) -> Sequence[Change]:
        """Return, in order, what happened to this member's partitions since the last call. Never blocks."""

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit next offsets, but only of partitions that are this member's at the time of the call.

        Returns:
            The partitions whose offset is now committed, or None if nothing was committed and it is worth trying
            again after the next poll (during a rebalance, or while the coordinator is away).

        Raises:
            ConfigError: another member has the same `kafka.group_instance_id`; each would evict the other.
        """

    def joined(self) -> bool:
        """Return whether the daemon is a member of the group, with or without partitions. For any thread."""

    def pause(self) -> None:
        """Deliver nothing from the next poll on, whatever is or becomes assigned; polling keeps the membership."""

    def resume(self) -> None:
        """Deliver again, but not from halted partitions."""

    def halt(self, partition: Partition, cause: str) -> None:
        """Deliver nothing more of one partition, for that cause; the others are read as before."""

    def resume_halted(self, partition: Partition) -> None:
        """Read a halted partition again, from its committed offset on; no `Assigned` comes."""

    def progress(self) -> Mapping[Partition, Progress]:
        """Return how far each partition of this member is read.

        What cannot be known now is left out; while Kafka is away that is everything.
        """

    def throttled(self) -> float:
        """Return for how many seconds brokers have made the daemon wait, by their quotas, since it started."""

    def close(self) -> None:
        """Leave the group. Bounded in time."""


class Sink(Protocol):
    """Where rows are kept. Used by the writer thread only."""

    def insert(self, columns: Columns, token: str) -> None:
        """Insert all rows or raise. The same columns with the same token may be sent again without effect.

        What is in front of a token's first `/` names its batch; a batch is done before the next one begins.

        Raises:
            SinkUnavailable: the outcome is unknown or the fault is not in the rows; send the same again.
            SinkRefused: these rows, as they are, do not pass.
        """

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        """Return keys of steps that reached a terminal status below that offset, the latest `limit` of them.

        Raises:
            SinkUnavailable: as for insert.
        """

    def probe(self) -> None:
        """Make sure that an insert could succeed now.

        Raises:
            SinkUnavailable: naming the cause (no connection, credentials, a missing table, a missing grant).
        """

    def close(self) -> None:
        """Release connections."""


class DeadLetterQueue(Protocol):
    """Where rejected records go. Used by the writer thread only."""

    def send(self, dead_letters: Sequence[InvalidRecord]) -> None:
        """Send all of them and wait until each is acknowledged by every in-sync replica.

        Raises:
            DeadLetterUnavailable: at least one was not; sending all again is safe, readers recognize repeats by origin.
        """

    def close(self) -> None:
        """Release connections. Bounded in time."""


class Clock(Protocol):
    """Time, so that tests can move it."""

    def now(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most `seconds`; return whether it is."""


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most `seconds`; return whether it is."""
        return event.wait(seconds)
