"""Reads one member of a group as the processor does, for the contract of sources and the tests of the real one."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from pipeline.contracts import Assigned, Change, Source, Withdrawn
from pipeline.records import Partition, Record

Member = TypeVar("Member", bound=Source)


class MemberReader(Generic[Member]):
    """Polls a member and keeps what came.

    Attributes:
        records: in the order they came.
        changes: likewise.
        owned: the partitions that are assigned now.
    """

    def __init__(self, member: Member) -> None:
        self.member = member
        self.records: list[Record] = []
        self.changes: list[Change] = []
        self.owned: set[Partition] = set()

    def poll(self) -> None:
        """Poll once; changes are taken also where the poll fails."""
        polled: Mapping[Partition, Sequence[Record]] = {}
        try:
            polled = self.member.poll(0.2, 1_000)
        finally:
            self._follow()
        for records in polled.values():
            self.records.extend(records)

    def values(self, partition: int | None = None) -> list[bytes | None]:
        """Return the values of the records, of one partition or of all."""
        return [record.value for record in self.records if partition in {None, record.partition}]

    def _follow(self) -> None:
        for change in self.member.changes():
            self.changes.append(change)
            if isinstance(change, Assigned):
                self.owned.add(change.partition)
            elif isinstance(change, Withdrawn):
                self.owned.discard(change.partition)
