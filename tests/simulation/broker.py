"""A fake Kafka: logs with gaps and retention, and one consumer group with members, generations and fencing.

Owns what the brokers and the group's coordinator do, as requests that a client makes (`join`, `sync`, `heartbeat`,
`commit`, `fetch`, ...); what a client makes of the answers is `member`'s. Rebalances are cooperative (KIP-429): a
partition goes to its next owner only after the last one, asked to, has given it up and joined again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipeline.records import Partition
from tests.support.fakes.kafka import FakeRecord

SESSION_TIMEOUT: Final = 10.0


class Unreachable(Exception):
    """No broker answers."""


class Fenced(Exception):
    """The coordinator does not know this member, or not in this generation."""


class InstanceFenced(Exception):
    """Another member has taken this static member's name, and its place."""


class Rebalancing(Exception):
    """Not now: the group is being rebalanced."""


class Membership:
    """What the coordinator knows of one member."""

    def __init__(
        self, owned: Sequence[Partition], silent: Callable[[], bool], now: float, instance: str | None
    ) -> None:
        self.owned = list(owned)
        self.instance = instance
        self.assigned: list[Partition] = []
        self.joined = True
        self.silent = silent
        self.heard_at = now


class Broker:
    """A topic's partitions and one consumer group.

    Attributes:
        down: no request is answered.
        on_commit: called with what a commit is about to make the group's offsets.
    """

    def __init__(self, partitions: int, clock: Callable[[], float], topic: str = "run-steps") -> None:
        self.topic = topic
        self.clock = clock
        self.logs: dict[Partition, list[FakeRecord]] = {}
        self.begins: dict[Partition, int] = {}
        self.ends: dict[Partition, int] = {}
        self.committed: dict[Partition, int] = {}
        self.members: dict[str, Membership] = {}
        self.generation = 0
        self.joining = False
        self.leader: str | None = None
        self.down = False
        self.on_commit: Callable[[str, Mapping[Partition, int]], Any] = lambda *_: None
        self._names = 0
        self._instances: dict[str, str | None] = {}
        self.grow(partitions)

    # the topic

    def grow(self, count: int) -> None:
        """Add partitions; the group's leader notices, if it knows that it is the leader."""
        for number in range(len(self.logs), len(self.logs) + count):
            partition = Partition(self.topic, number)
            self.logs[partition] = []
            self.begins[partition] = self.ends[partition] = 0
        if self.leader is not None:
            self._rebalance()

    def produce(
        self, value: bytes | None, partition: int, timestamp: int, headers: Sequence[tuple[str, bytes]] = ()
    ) -> int:
        """Append a record and return its offset."""
        name = Partition(self.topic, partition)
        offset = self.ends[name]
        self.logs[name].append(FakeRecord(self.topic, partition, offset, timestamp, b"key", value, headers))
        self.ends[name] += 1
        return offset

    def skip(self, partition: int, count: int) -> None:
        """Leave a gap, as transaction markers, aborted transactions and compaction do."""
        self.ends[Partition(self.topic, partition)] += count

    def expire(self, partition: Partition, below: int) -> None:
        """Drop the records below an offset, as retention does."""
        self.begins[partition] = max(self.begins[partition], min(below, self.ends[partition]))
        self.logs[partition] = [record for record in self.logs[partition] if record.offset >= below]

    def fetch(self, partition: Partition, offset: int, most: int) -> tuple[int, Sequence[FakeRecord]]:
        """Return the first offset there is, and records from `offset` on."""
        self.reach()
        found = [record for record in self.logs[partition] if record.offset >= offset]
        return self.begins[partition], found[:most]

    def reach(self) -> None:
        """Answer, or do not.

        Raises:
            Unreachable: while down.
        """
        if self.down:
            raise Unreachable

    # the group

    def join(
        self,
        member: str | None,
        owned: Sequence[Partition],
        silent: Callable[[], bool],
        instance: str | None = None,
    ) -> str:
        """Join, or join again, with what one owns; return the member's id.

        Raises:
            InstanceFenced: another member has this static member's place.
        """
        self.reach()
        self.expire_members()
        holder = self._holder(instance)
        if member is None and holder is not None:
            return self._take_over(holder, silent)
        if member not in self.members and holder is not None:
            raise InstanceFenced
        if member is None or member not in self.members:
            member = self._name(instance)
            self.members[member] = Membership(owned, silent, self.clock(), instance)
        self._rebalance()
        membership = self.members[member]
        membership.joined = True
        membership.owned = list(owned)
        self._settle()
        return member

    def sync(self, member: str) -> tuple[int, Sequence[Partition]] | None:
        """Return generation and assignment, None as long as others are still to join."""
        self.reach()
        self._know(member)
        return None if self.joining else (self.generation, list(self.members[member].assigned))

    def heartbeat(self, member: str) -> bool:
        """Return whether the member has to join again.

        Raises:
            Fenced: it is none.
        """
        self.reach()
        self.expire_members()
        self._know(member)
        return self.joining and not self.members[member].joined

    def commit(self, member: str, generation: int, offsets: Mapping[Partition, int]) -> None:
        """Take next offsets from any current member, of whatever partition: the real coordinator looks no closer.

        Raises:
            Fenced: not a current member.
            Rebalancing: the assignment is not out yet.
        """
        self.reach()
        self.expire_members()
        self._know(member)
        if generation != self.generation:
            raise Fenced
        if self.joining and self.members[member].joined:
            raise Rebalancing
        self.on_commit(member, offsets)
        self.committed.update(offsets)

    def leave(self, member: str) -> None:
        """Forget a member, at its own wish or because it was silent for too long."""
        if self.members.pop(member, None) is not None:
            self._rebalance()

    def expire_members(self) -> None:
        """Remove members silent for longer than the session timeout; a live process has a thread for heartbeats."""
        now = self.clock()
        for name, membership in list(self.members.items()):
            if self.down or not membership.silent():
                membership.heard_at = now
            elif now - membership.heard_at >= SESSION_TIMEOUT:
                self.leave(name)

    def _name(self, instance: str | None) -> str:
        self._names += 1
        name = f"member-{self._names}"
        self._instances[name] = instance
        return name

    def _holder(self, instance: str | None) -> str | None:
        """Return the member that has a static name."""
        static = {membership.instance: name for name, membership in self.members.items()}
        return None if instance is None else static.get(instance)

    def _know(self, member: str) -> None:
        """Answer members only.

        Raises:
            Fenced: it is none.
            InstanceFenced: its place is another's.
        """
        if member not in self.members:
            raise Fenced if self._holder(self._instances.get(member)) is None else InstanceFenced

    def _take_over(self, holder: str, silent: Callable[[], bool]) -> str:
        """Give a static member's place to its next process: without a rebalance, and without a word on who leads."""
        name = self._name(self.members[holder].instance)
        membership = self.members[name] = self.members.pop(holder)
        membership.silent, membership.heard_at = silent, self.clock()
        if holder == self.leader:
            self.leader = None
        if self.joining:
            membership.joined, membership.owned = True, []
            self._settle()
        return name

    def _rebalance(self) -> None:
        if not self.joining:
            self.joining = True
            for membership in self.members.values():
                membership.joined = False
        self._settle()

    def _settle(self) -> None:
        """Assign once all have joined: sticky, and nothing that another still owns."""
        members = self.members
        if not members or not all(membership.joined for membership in members.values()):
            return
        self.joining = False
        self.leader = next(iter(members))
        self.generation += 1
        share = -(-len(self.logs) // len(members))
        owners = {partition: name for name, membership in members.items() for partition in membership.owned}
        targets: dict[str, list[Partition]] = {name: [] for name in members}
        homeless = []
        for partition in self.logs:
            owner = owners.get(partition)
            if owner is not None and len(targets[owner]) < share:
                targets[owner].append(partition)
            else:
                homeless.append(partition)
        for partition in homeless:
            targets[min(members, key=lambda name: len(targets[name]))].append(partition)
        for name, membership in members.items():
            membership.assigned = [p for p in targets[name] if owners.get(p, name) == name]
            membership.owned = [p for p in membership.owned if p in membership.assigned] + [
                p for p in membership.assigned if p not in membership.owned
            ]
