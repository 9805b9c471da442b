"""An in-memory broker with consumer groups, and the fake of `contracts.Source` and `contracts.DeadLetterQueue` on it.

Owns what the contract suites need of Kafka: offsets with gaps, committed offsets, retention, groups whose rebalances
are cooperative and sticky, members that are removed. Everything happens when a member polls; nothing blocks.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.contracts import Assigned, Change, OffsetsLost, Progress, Withdrawn
from pipeline.errors import DeadLetterUnavailable, SourceUnavailable
from pipeline.records import InvalidRecord, Partition, Record


class FakeRecord(NamedTuple):
    """A Kafka message."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class FakeBroker:
    """A topic's partitions and one consumer group."""

    def __init__(self, topic: str = "run-steps", partitions: int = 1) -> None:
        self.topic = topic
        self.partitions = [Partition(topic, number) for number in range(partitions)]
        self.logs: dict[Partition, list[FakeRecord]] = {partition: [] for partition in self.partitions}
        self.ends = dict.fromkeys(self.partitions, 0)
        self.committed: dict[Partition, int] = {}
        self.members: list[FakeSource] = []
        self.owners: dict[Partition, FakeSource] = {}
        self.down = False

    def produce(
        self,
        value: bytes | None,
        partition: int = 0,
        timestamp: int = 1_764_000_000_000,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Append a record and return its offset."""
        name = self.partitions[partition]
        offset = self.ends[name]
        self.logs[name].append(FakeRecord(self.topic, partition, offset, timestamp, b"key", value, headers))
        self.ends[name] += 1
        return offset

    def skip(self, partition: int, count: int) -> None:
        """Leave a gap, as transaction markers and compaction do."""
        self.ends[self.partitions[partition]] += count

    def expire(self, partition: int, below: int) -> None:
        """Drop the records below an offset, as retention does."""
        name = self.partitions[partition]
        self.logs[name] = [record for record in self.logs[name] if record.offset >= below]

    def begin(self, partition: Partition) -> int:
        """Return the first offset that is still there."""
        log = self.logs[partition]
        return log[0].offset if log else self.ends[partition]

    def rebalance(self) -> None:
        """Give each member its share; who may keep a partition keeps it."""
        if not self.members:
            self.owners.clear()
            return
        share = -(-len(self.partitions) // len(self.members))
        counts = dict.fromkeys(map(id, self.members), 0)
        homeless = []
        for partition in self.partitions:
            owner = self.owners.get(partition)
            if owner in self.members and counts[id(owner)] < share:
                counts[id(owner)] += 1
                continue
            if owner in self.members:
                owner.withdraw(partition, lost=False)
            homeless.append(partition)
        for partition in homeless:
            owner = min(self.members, key=lambda member: counts[id(member)])
            counts[id(owner)] += 1
            self.owners[partition] = owner
            owner.assign(partition)

    def evict(self, member: "FakeSource") -> None:
        """Put a member out of the group, as a missed session does; it learns of it at its next poll."""
        self.members.remove(member)
        member.evicted = True
        self.rebalance()


class FakeSource:
    """A member of the group. `contracts.Source`."""

    def __init__(self, broker: FakeBroker, max_records: int = 1_000) -> None:
        self.broker = broker
        self.max_records = max_records
        self.positions: dict[Partition, int] = {}
        self.halted: dict[Partition, str] = {}
        self.troubles: dict[str, str] = {}
        self.throttled_seconds = 0.0
        self.evicted = False
        self.paused = False
        self._joined = False
        self._changes: list[Change] = []

    def poll(self, timeout: float, most: int) -> Mapping[Partition, Sequence[Record]]:
        """Return what there is, at once."""
        if self.broker.down:
            raise SourceUnavailable("the fake broker is down")
        if self.evicted:
            self._rejoin()
        if not self._joined:
            self._joined = True
            self.broker.members.append(self)
            self.broker.rebalance()
        if self.paused:
            return {}
        delivered: dict[Partition, Sequence[Record]] = {}
        for partition, position in list(self.positions.items()):
            if partition in self.halted or most <= 0:
                continue
            start = self._in_range(partition, position)
            most_of_it = min(most, self.max_records)
            records = [record for record in self.broker.logs[partition] if record.offset >= start][:most_of_it]
            most -= len(records)
            self.positions[partition] = records[-1].offset + 1 if records else max(start, self.broker.ends[partition])
            if records:
                delivered[partition] = records
        return delivered

    def changes(self) -> Sequence[Change]:
        """Return what happened since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit what is assigned; nothing once removed from the group, or while the broker is away."""
        if self.broker.down or self.evicted:
            return None
        owned = {partition: offset for partition, offset in offsets.items() if partition in self.positions}
        self.broker.committed.update(owned)
        return frozenset(owned)

    def joined(self) -> bool:
        """Return whether this is a member of the group."""
        return self._joined and not self.evicted

    def pause(self) -> None:
        """Deliver nothing."""
        self.paused = True

    def resume(self) -> None:
        """Deliver again."""
        self.paused = False

    def halt(self, partition: Partition, cause: str) -> None:
        """Deliver nothing more of a partition."""
        self.halted[partition] = cause

    def resume_halted(self, partition: Partition) -> None:
        """Deliver it again, from its committed offset."""
        del self.halted[partition]
        self.positions[partition] = self.broker.committed.get(partition, self.broker.begin(partition))

    def progress(self) -> Mapping[Partition, Progress]:
        """Return how far each is read; unknown while the broker is away, and during some troubles."""
        if self.broker.down or self.troubles:
            return {}
        return {partition: self._progress(partition) for partition in self.positions}

    def _progress(self, partition: Partition) -> Progress:
        committed = self.broker.committed.get(partition, self.broker.begin(partition))
        position = committed if partition in self.halted else self.positions[partition]
        return Progress(position, committed, self.broker.ends[partition])

    def throttled(self) -> float:
        """Return what the test says."""
        return self.throttled_seconds

    def close(self) -> None:
        """Leave the group."""
        if self in self.broker.members:
            self.broker.members.remove(self)
            self.broker.rebalance()

    def assign(self, partition: Partition) -> None:
        """Take a partition, from its committed offset."""
        self.positions[partition] = self.broker.committed.get(partition, self.broker.begin(partition))
        self._changes.append(Assigned(partition))

    def withdraw(self, partition: Partition, *, lost: bool) -> None:
        """Give a partition up."""
        del self.positions[partition]
        self.halted.pop(partition, None)
        self._changes.append(Withdrawn(partition, lost))

    def _rejoin(self) -> None:
        for partition in list(self.positions):
            self.withdraw(partition, lost=True)
        self.evicted = self._joined = False

    def _in_range(self, partition: Partition, position: int) -> int:
        begin = self.broker.begin(partition)
        if position < begin and self.broker.committed.get(partition, begin) < begin:
            self._changes.append(OffsetsLost(partition, position, begin - 1))
        return max(position, begin)


class FakeDeadLetters:
    """Keeps dead letters in a list. `contracts.DeadLetterQueue`."""

    def __init__(self) -> None:
        self.dead_letters: list[InvalidRecord] = []
        self.failures = 0

    def send(self, dead_letters: Sequence[InvalidRecord]) -> None:
        """Keep them, or fail as often as scripted."""
        if self.failures:
            self.failures -= 1
            raise DeadLetterUnavailable("the fake dead-letter topic is away")
        self.dead_letters.extend(dead_letters)

    def close(self) -> None:
        """Nothing to release."""
