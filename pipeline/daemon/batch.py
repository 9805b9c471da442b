"""A batch: columns of rows, and what must be known to commit exactly them.

Owns assignments (a partition, for as long as it is this member's), the parts of a batch (one partition's rows and next
offset), and the token that makes a repeated insert harmless. No IO, no clock: times come in as arguments.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress, groupby
from typing import Any, Final

from pipeline.daemon.rejection_limits import Excess, RejectionLimits
from pipeline.daemon.superseded import IS_SUPERSEDED, LEFT_OUT, superseded
from pipeline.metrics.counts import CountedSteps
from pipeline.normalize.normalize import Normalized
from pipeline.records import (
    EARLIEST_STAMP_MS,
    InvalidRecord,
    Partition,
    Reason,
    Record,
    Stage,
    Unstored,
    ledger_row,
    set_aside,
)
from schemas.row import BLANK_ROW, INDEX, INGEST_COLUMNS

_WIDTH: Final = len(INGEST_COLUMNS)
_INGESTED_AT: Final = INDEX["ingested_at"]
_STEP_INDEX: Final = INDEX["step_index"]
_FIRST_RECORDS: Final = 100


@dataclass(slots=True, eq=False)
class Assignment:
    """A partition from when it is assigned until it is withdrawn; assigned again, it gets another `Assignment`.

    So identity answers the question before a commit: are the written offsets still this member's to commit?

    Attributes:
        counted: the steps already in the metrics; None until the writer has read them from the ledger.
        limits: how many of its latest records were rejected before they became rows, what halted it not counted; the
            owner's.
        sink_limits: how many of its latest records were rejected by the sink, what was given up not counted; the
            writer's, the owner only passes it to the next assignment.
        next_offset: what will be read next, None before the first record.
        committed: what this member committed last, None before its first commit.
    """

    partition: Partition
    counted: CountedSteps | None = None
    limits: RejectionLimits = field(default_factory=RejectionLimits)
    sink_limits: RejectionLimits = field(default_factory=RejectionLimits)
    next_offset: int | None = None
    committed: int | None = None


@dataclass(slots=True)
class Part:
    """What a batch holds of one partition; row i came from `records[i]`, so a record with several steps is repeated.

    Attributes:
        whole: the columns as they were before it was collapsed, by position.
    """

    assignment: Assignment
    columns: list[list[Any]] = field(default_factory=lambda: [[] for _ in range(_WIDTH)])
    records: list[Record] = field(default_factory=list)
    dead_letters: list[InvalidRecord] = field(default_factory=list)
    size: int = 0
    first_offset: int = -1
    next_offset: int = -1
    whole: dict[int, list[Any]] = field(default_factory=dict)

    def extend(self, normalized: Normalized) -> None:
        """Append what records became, in offset order."""
        for column, values in zip(self.columns, normalized.columns, strict=True):
            column.extend(values)
        origins = normalized.origins
        self.records.extend(origins)
        self.dead_letters.extend(normalized.dead_letters)
        self.size += normalized.size
        if self.first_offset < 0:
            self.first_offset = origins[0].offset
        self.next_offset = self.assignment.next_offset = origins[-1].offset + 1

    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.records)

    def collapse(self) -> None:
        """Leave each row that a newer one replaces to the ledger alone, without its texts and details."""
        rows = superseded(self.columns)
        for position in (IS_SUPERSEDED, *LEFT_OUT) if rows else ():
            self.whole[position] = self.columns[position]
            self.columns[position] = column = self.columns[position].copy()
            left = True if position == IS_SUPERSEDED else BLANK_ROW[position]
            for row in rows:
                column[row] = left

    def restore(self) -> bool:
        """Make all rows whole again, to be current each; return whether some were not."""
        whole, self.whole = self.whole, {}
        for position, column in whole.items():
            self.columns[position] = column
        return bool(whole)

    def reject(self, index: int, detail: str) -> None:
        """Turn a stored row into a dead-lettered one: only the ledger keeps it, the record goes to the dead letters."""
        record = self.records[index]
        step_index, thread_id, run_id, step_id = (
            self.columns[INDEX[name]][index] for name in ("step_index", "thread_id", "run_id", "step_id")
        )
        verdict = Unstored(Reason.REFUSED_BY_SINK, Stage.SINK, detail, step_id, run_id, thread_id)
        ingested_at = self.columns[_INGESTED_AT][index]
        for column, value in zip(self.columns, ledger_row(verdict, record, step_index), strict=True):
            column[index] = value
        self.columns[_INGESTED_AT][index] = ingested_at
        if all(dead_letter.record is not record for dead_letter in self.dead_letters):
            set_aside(self.dead_letters, record, verdict)

    def count_rejected(self, limits: RejectionLimits, rejected: Iterable[int], stop: int) -> Excess | None:
        """Count the part's records, and those that the sink rejected; return which limit that exceeds, None if none.

        Records that became dead letters before they reached the sink are the owner's to judge, and left out here.

        Args:
            limits: changed in place.
            rejected: rows that the sink rejected; those it rejected before are known by their dead letters.
            stop: row of the part from which on nothing is known yet.
        """
        at_fault, earlier = {id(self.records[row]) for row in rejected}, set[int]()
        for dead_letter in self.dead_letters:
            (at_fault if dead_letter.stage is Stage.SINK else earlier).add(id(dead_letter.record))
        if not at_fault:
            limits.note(self.columns[_STEP_INDEX].count(0) - len(earlier), (), 0)
            return None
        excess = None
        firsts = compress(self.records[:stop], (index == 0 for index in self.columns[_STEP_INDEX]))
        for is_rejected, run in groupby(id(record) in at_fault for record in firsts if id(record) not in earlier):
            records = sum(1 for _ in run)
            limits.note(records, [Reason.REFUSED_BY_SINK] * records * is_rejected, records * is_rejected)
            excess = excess or limits.excess()
        return excess


class Restored(Exception):
    """A batch is whole again: no row of it is superseded any more."""


class Weight:
    """What a record becomes, as last seen, so that no more is read than a batch can take.

    A record may hold a thousand steps. Where one was heavy the next are taken for heavy, and for half as heavy each
    time that they turn out to be light; before the first record, a hundred are taken for a full batch.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._rows, self._bytes = max_rows / _FIRST_RECORDS, max_bytes / _FIRST_RECORDS

    def note(self, records: int, rows: int, size: int) -> None:
        """Take in what records became."""
        self._rows = max(rows / records, self._rows / 2)
        self._bytes = max(size / records, self._bytes / 2)

    def room(self, batch: "Batch") -> int:
        """Return how many more records a batch takes; never less than one."""
        rows, size = self._max_rows - batch.rows, self._max_bytes - batch.size
        return max(int(min(rows / self._rows, size / max(self._bytes, 1))), 1)


class Batch:
    """Rows on their way, from the first record to the commit. Used by the owner, then submitted whole to the writer.

    Attributes:
        parts: by partition.
        given_up: parts that were not inserted, each with why: an unclassified failure, or too many rejected rows.
        opened_at: monotonic seconds when the first record came, None while empty.
        ingested_at: milliseconds since the epoch at sealing; part of every row, so sealing fixes the bytes.
        acknowledged_at: seconds since the epoch when the insert was acknowledged.
        token: names the sealed content; the same rows sent twice under it are stored once.
    """

    def __init__(self) -> None:
        self.parts: dict[Partition, Part] = {}
        self.given_up: list[tuple[Part, str]] = []
        self.opened_at: float | None = None
        self.ingested_at = 0
        self.acknowledged_at = 0.0
        self.token = ""

    def part(self, assignment: Assignment) -> Part:
        """Return the part of that assignment; what an earlier assignment of the partition left behind is dropped."""
        part = self.parts.get(assignment.partition)
        if part is None or part.assignment is not assignment:
            part = self.parts[assignment.partition] = Part(assignment)
        return part

    def drop(self, partition: Partition) -> None:
        """Forget the rows of a partition; its next owner, or the next assignment, reads them again."""
        self.parts.pop(partition, None)

    @property
    def rows(self) -> int:
        """Number of rows. For any thread, while the batch is filled."""
        return sum(part.rows() for part in list(self.parts.values()))

    @property
    def size(self) -> int:
        """Bytes of memory that records and rows occupy, about."""
        return sum(part.size for part in self.parts.values())

    def oldest_timestamp(self) -> float:
        """Return the earliest record timestamp since 2015 in seconds since the epoch, 0 if there is none."""
        firsts = [part.records[0].timestamp for part in self.parts.values() if part.records]
        return min((first for first in firsts if first >= EARLIEST_STAMP_MS), default=0) / 1000

    def seal(self, now: float) -> None:
        """Fix the content at `now` (seconds since the epoch) and name it.

        The token covers each part's exact range, its record timestamps (a recreated topic has the same
        offsets) and the time of sealing, which is in every row: other bytes never have the same token.
        """
        self.parts = {partition: part for partition, part in sorted(self.parts.items()) if part.records}
        self.ingested_at = int(now * 1000)
        name = hashlib.blake2b(str(self.ingested_at).encode(), digest_size=16)
        for (topic, number), part in self.parts.items():
            part.columns[_INGESTED_AT] = [self.ingested_at] * part.rows()
            part.collapse()
            first, last = part.records[0].timestamp, part.records[-1].timestamp
            name.update(f"\n{topic}/{number}:{part.first_offset}-{part.next_offset}@{first}-{last}".encode())
        self.token = name.hexdigest()

    def columns(self, start: int, stop: int) -> list[list[Any]]:
        """Return the columns of rows `start` to `stop`, the parts one after the other."""
        slices = list(self._slices(start, stop))
        if len(slices) == 1 and slices[0][2] - slices[0][1] == slices[0][0].rows():
            return slices[0][0].columns
        joined: list[list[Any]] = [[] for _ in range(_WIDTH)]
        for part, low, high in slices:
            for column, values in zip(joined, part.columns, strict=True):
                column.extend(values[low:high])
        return joined

    def restore(self) -> bool:
        """Take no row for superseded any more, under another token; return whether one was.

        For when the sink rejects a row: if that was the newest of its step, an older one is current.
        """
        restored = [part.restore() for part in self.parts.values()]
        if any(restored):
            self.token = hashlib.blake2b(f"{self.token}-whole".encode(), digest_size=16).hexdigest()
        return any(restored)

    def reject(self, row: int, detail: str) -> None:
        """Turn that row into a dead-lettered one; what is inserted from now on are other bytes, under another token."""
        for part, low, _ in self._slices(row, row + 1):
            part.reject(low, detail)
        self.token = hashlib.blake2b(f"{self.token}-{row}".encode(), digest_size=16).hexdigest()

    def give_up(self, partition: Partition, cause: str) -> None:
        """Leave a partition's rows out: they are neither committed nor counted, whatever of them was inserted."""
        self.given_up.append((self.parts.pop(partition), cause))

    def dead_letters(self) -> list[InvalidRecord]:
        """Return what goes to the dead-letter topic."""
        return [dead_letter for part in self.parts.values() for dead_letter in part.dead_letters]

    def spans(self, start: int, stop: int) -> Iterator[tuple[Partition, int, int]]:
        """Yield the partitions that rows `start` to `stop` belong to, each with its rows' bounds."""
        begin = start
        for part, low, high in self._slices(start, stop):
            yield part.assignment.partition, begin, begin + high - low
            begin += high - low

    def _slices(self, start: int, stop: int) -> Iterator[tuple[Part, int, int]]:
        """Yield the parts that rows `start` to `stop` lie in, each with the bounds inside it."""
        begin = 0
        for part in self.parts.values():
            end = begin + part.rows()
            low, high = max(start, begin), min(stop, end)
            if low < high:
                yield part, low - begin, high - begin
            begin = end
