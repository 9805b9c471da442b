"""Reads a dead-letter topic: its dead letters, each once, and what became of them. Writes nothing.

The topic is as trusted as its writers: who may write there can add a dead letter, or a marker that closes one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.kafka.dead_letters import Place
from pipeline.kafka.log_reader import LogReader
from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity, ReplayOutcome, dead_letter_of, marker_of

_OFFSETS_PER_PROGRESS: Final = 1_000
_MAX_REPLAYS_FOLLOWED: Final = 100


class Origins(NamedTuple):
    """A range of offsets of a partition; all of it by default."""

    topic: str
    partition: int
    first: int = 0
    last: int | None = None

    def hold(self, identity: Identity) -> bool:
        """Whether a record is in the range."""
        return (
            (identity.topic, identity.partition) == (self.topic, self.partition)
            and self.first <= identity.offset
            and (self.last is None or identity.offset <= self.last)
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are selected; by default all.

    Attributes:
        reasons: rejected for one of these.
        stages: rejected at one of these.
        since: dead-lettered at this time or later, milliseconds since the epoch.
        until: dead-lettered before this time.
        origins: from these offsets.
    """

    reasons: Collection[str] = ()
    stages: Collection[str] = ()
    since: int | None = None
    until: int | None = None
    origins: Origins | None = None

    def admits(self, dead_letter: DeadLetter) -> bool:
        """Whether a dead letter is selected."""
        return (
            (not self.reasons or dead_letter.reason in self.reasons)
            and (not self.stages or dead_letter.stage in self.stages)
            and (self.since is None or dead_letter.timestamp >= self.since)
            and (self.until is None or dead_letter.timestamp < self.until)
            and (self.origins is None or self.origins.hold(dead_letter.identity))
        )


@dataclass(slots=True)
class DeadLetterTopic:
    """The dead letters of a topic, up to the offsets that were read.

    Attributes:
        name: of the topic.
        dead_letters: each dead letter once, by its identity.
        outcomes: what became of the dead letters that were replayed, requeued or dropped.
        foreign: number of records that are neither dead letter nor marker.
    """

    reader: LogReader
    name: str
    dead_letters: dict[Identity, DeadLetter] = field(default_factory=dict)
    outcomes: dict[Identity, ReplayOutcome] = field(default_factory=dict)
    foreign: int = 0
    _read_to: dict[int, int] = field(default_factory=dict)
    _replayed: defaultdict[Place, set[Identity]] = field(default_factory=lambda: defaultdict(set))
    _copies: defaultdict[Identity, set[int]] = field(default_factory=lambda: defaultdict(set))

    def read_new(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Read the records that were appended since the last call, up to the present end.

        Args:
            progress: called with the number of offsets that are read, and of all.

        Raises:
            ConfigError: the topic does not exist.
            ServiceUnavailable: Kafka does not answer.
        """
        partitions = self.reader.partitions(self.name)
        starts, ends = self.reader.bounds(partitions)
        begins = {part: max(starts[part], self._read_to.get(part.partition, 0)) for part in partitions}
        total, done = sum(max(ends[part] - begins[part], 0) for part in partitions), 0
        progress(0, total)
        for part in partitions:
            for record in self.reader.read(part, begins[part], ends[part]):
                self._enter(record)
                if record.offset % _OFFSETS_PER_PROGRESS == 0:
                    progress(done + record.offset - begins[part], total)
            done += max(ends[part] - begins[part], 0)
            progress(done, total)
            self._read_to[part.partition] = max(ends[part], begins[part])

    def chosen(self, selection: Selection, *, closed: bool = False) -> list[DeadLetter]:
        """Return the selected dead letters, the oldest first.

        Args:
            selection: which.
            closed: also those that were replayed, requeued or dropped.
        """
        found = (
            dead_letter
            for identity, dead_letter in self.dead_letters.items()
            if selection.admits(dead_letter) and (closed or identity not in self.outcomes)
        )
        return sorted(found, key=lambda dead_letter: (dead_letter.timestamp, dead_letter.partition, dead_letter.offset))

    def close(self, identity: Identity, outcome: ReplayOutcome) -> None:
        """Note what became of a dead letter."""
        self.outcomes[identity] = outcome
        if outcome is ReplayOutcome.REPLAYED:
            self._replayed[Place(identity.topic, identity.partition, identity.offset)].add(identity)

    def attempt(self, identity: Identity) -> int:
        """Return how often a record was rejected: what its dead letter says, but no more than the markers prove.

        Each replay or requeueing whose marker is in the topic proves one rejection before.
        """
        known = [identity]
        while len(known) < min(identity.attempt, _MAX_REPLAYS_FOLLOWED):
            earlier = self._earlier(known[-1], known)
            if earlier is None:
                break
            known.append(earlier)
        return len(known)

    def partitions_of(self, dead_letter: DeadLetter) -> Iterator[int]:
        """Yield the partitions of the topic that hold the dead letter or a copy of it."""
        yield dead_letter.partition
        yield from sorted(self._copies.get(dead_letter.identity, ()))

    def _enter(self, record: Any) -> None:
        dead_letter = dead_letter_of(record)
        if dead_letter is not None:
            first = self.dead_letters.setdefault(dead_letter.identity, dead_letter)
            if first.partition != dead_letter.partition:
                self._copies[dead_letter.identity].add(dead_letter.partition)
            return
        mark = marker_of(record.headers)
        if mark is None:
            self.foreign += 1
        else:
            self.close(*mark)

    def _earlier(self, identity: Identity, known: Collection[Identity]) -> Identity | None:
        requeued = identity._replace(attempt=identity.attempt - 1)
        if self.outcomes.get(requeued) is ReplayOutcome.REQUEUED:
            return requeued
        dead_letter = self.dead_letters.get(identity)
        if dead_letter is None or dead_letter.replayed_from is None:
            return None
        # A recreated topic has had other records at the same place.
        replayed = [each for each in self._replayed.get(dead_letter.replayed_from, ()) if each not in known]
        return min(replayed, key=lambda each: abs(requeued.attempt - each.attempt), default=None)
