"""What polls returned and is not in a batch yet.

Owns the order in which it becomes rows: as it came, however many turns of the loop that takes. Used by the owner only.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.contracts import Unreadable
from pipeline.records import Partition, Record, UnreadRecord


class Portion(NamedTuple):
    """Records of one partition that follow each other; of those that no client can read, why."""

    partition: Partition
    records: Sequence[Record]
    damage: str | None = None


class Unread:
    """Portions, the oldest first. What is withdrawn or halted is dropped: its next owner reads it again."""

    def __init__(self) -> None:
        self._portions: deque[Portion] = deque()

    def add(self, polled: Mapping[Partition, Sequence[Record]]) -> None:
        """Append what a poll returned."""
        self._portions.extend(Portion(partition, records) for partition, records in polled.items() if records)

    def add_unreadable(self, change: Unreadable) -> None:
        """Append offsets that no client can read; they come behind what was delivered before."""
        records = [UnreadRecord(*change.partition, offset) for offset in range(change.first, change.last + 1)]
        self._portions.append(Portion(change.partition, records, change.detail))

    def first(self, most: int) -> Portion:
        """Return the oldest portion, or its first `most` records."""
        oldest = self._portions[0]
        return oldest._replace(records=oldest.records[:most])

    def done(self, number: int) -> None:
        """Forget the first `number` records of the oldest portion."""
        oldest = self._portions.popleft()
        if number < len(oldest.records):
            self._portions.appendleft(oldest._replace(records=oldest.records[number:]))

    def drop(self, partition: Partition) -> None:
        """Forget what is here of a partition."""
        if any(portion.partition == partition for portion in self._portions):
            self._portions = deque(portion for portion in self._portions if portion.partition != partition)

    def clear(self) -> None:
        """Forget everything."""
        self._portions.clear()

    def __bool__(self) -> bool:
        return bool(self._portions)
