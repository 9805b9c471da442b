"""What a dead-letter topic holds: its dead letters, each once, and what became of them. Reads the topic, writes nothing."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.kafka.log_reader import LogReader
from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity, Outcome, dead_letter_of, mark_of

_TOLD_EVERY: Final = 1_000


class Origins(NamedTuple):
    """A range of offsets of a partition; all of it by default."""

    topic: str
    partition: int
    first: int = 0
    last: int | None = None

    def hold(self, identity: Identity) -> bool:
        """Whether a record is one of them."""
        return (
            (identity.topic, identity.partition) == (self.topic, self.partition)
            and self.first <= identity.offset
            and (self.last is None or identity.offset <= self.last)
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; by default all.

    Attributes:
        reasons: one of these.
        stages: one of these.
        since: dead-lettered at this time or later, milliseconds since the epoch.
        until: dead-lettered before this time.
        origins: from there.
    """

    reasons: Collection[str] = ()
    stages: Collection[str] = ()
    since: int | None = None
    until: int | None = None
    origins: Origins | None = None

    def admits(self, dead_letter: DeadLetter) -> bool:
        """Whether a dead letter is meant."""
        return (
            (not self.reasons or dead_letter.reason in self.reasons)
            and (not self.stages or dead_letter.stage in self.stages)
            and (self.since is None or dead_letter.timestamp >= self.since)
            and (self.until is None or dead_letter.timestamp < self.until)
            and (self.origins is None or self.origins.hold(dead_letter.identity))
        )


@dataclass(slots=True)
class Book:
    """The dead letters of a topic, as far as it was read.

    Attributes:
        topic: the dead-letter topic.
        dead_letters: each dead letter once, by what it tells of.
        outcomes: what became of dead letters.
        strangers: records that are neither dead letter nor marker.
    """

    reader: LogReader
    topic: str
    dead_letters: dict[Identity, DeadLetter] = field(default_factory=dict)
    outcomes: dict[Identity, Outcome] = field(default_factory=dict)
    strangers: int = 0
    _read_to: dict[int, int] = field(default_factory=dict)
    _elsewhere: defaultdict[Identity, set[int]] = field(default_factory=lambda: defaultdict(set))

    def read_on(self, tell: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Read what came since the last time, up to the end as it is now.

        Args:
            tell: told now and then how many offsets are read, and of how many.

        Raises:
            ConfigError: there is no such topic.
            ServiceUnavailable: Kafka does not answer.
        """
        partitions = self.reader.partitions(self.topic)
        starts, ends = self.reader.bounds(partitions)
        begins = {part: max(starts[part], self._read_to.get(part.partition, 0)) for part in partitions}
        total, done = sum(max(ends[part] - begins[part], 0) for part in partitions), 0
        tell(0, total)
        for part in partitions:
            for record in self.reader.read(part, begins[part], ends[part]):
                self._enter(record)
                if record.offset % _TOLD_EVERY == 0:
                    tell(done + record.offset - begins[part], total)
            done += max(ends[part] - begins[part], 0)
            tell(done, total)
            self._read_to[part.partition] = max(ends[part], begins[part])

    def chosen(self, selection: Selection, *, closed: bool = False) -> list[DeadLetter]:
        """Return the dead letters that are meant, the oldest first.

        Args:
            selection: which.
            closed: those too that were replayed, requeued or dropped.
        """
        found = (
            dead_letter
            for identity, dead_letter in self.dead_letters.items()
            if selection.admits(dead_letter) and (closed or identity not in self.outcomes)
        )
        return sorted(found, key=lambda dead_letter: (dead_letter.timestamp, dead_letter.partition, dead_letter.offset))

    def partitions_of(self, dead_letter: DeadLetter) -> Iterator[int]:
        """Yield the partitions of the topic in which the dead letter or a copy of it lies."""
        yield dead_letter.partition
        yield from sorted(self._elsewhere.get(dead_letter.identity, ()))

    def _enter(self, record: Any) -> None:
        dead_letter = dead_letter_of(record)
        if dead_letter is not None:
            first = self.dead_letters.setdefault(dead_letter.identity, dead_letter)
            if first.partition != dead_letter.partition:
                self._elsewhere[dead_letter.identity].add(dead_letter.partition)
            return
        mark = mark_of(record.headers)
        if mark is None:
            self.strangers += 1
        else:
            self.outcomes[mark[0]] = mark[1]
