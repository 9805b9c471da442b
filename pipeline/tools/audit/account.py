"""The result of an audit as plain data, and the problems in it. Pure.

An offset below the committed one is accounted for if the ledger has a row of it, or if Kafka has no record there: a
transaction marker, an aborted record, or one that compaction removed. Otherwise it is **lost** if Kafka still holds a
record there, and **expired** if Kafka has deleted that part of the log: what it held is unknown then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from pipeline.records import Partition

MAX_EXAMPLES: Final = 10
"""Examples of each problem in the JSON."""
_MAX_NAMED: Final = 3
"""Examples in a sentence."""

Cause: TypeAlias = Literal["lost", "expired", "transaction", "compaction", "unverified"]
"""Why a range of offsets is not in the ledger; `unverified` where there are too many to look each up in Kafka."""


class Gap(NamedTuple):
    """Offsets from `first` to `last`, both included, that are below the committed one and not in the ledger."""

    first: int
    last: int
    cause: Cause

    @property
    def offsets(self) -> int:
        """Number of offsets in the gap."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Return one offset, or the first and the last."""
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(slots=True)
class PartitionAccount:
    """One partition: its offsets in Kafka, and what the ledger has below the committed one.

    Attributes:
        log_start: the first offset that Kafka holds.
        log_end: the offset behind the last record that may be read.
        committed: the group's next offset; None where it has never committed.
        unstable: offsets behind `log_end`, which wait until a producer's transaction ends.
        first: the first offset of the ledger that is audited.
        offsets: distinct offsets in the ledger, from `first` to `committed`.
        outcomes: of these, outcome to number; a record with several steps counts with its worst outcome.
        recreated: offsets that the ledger has with several timestamps: the topic was recreated.
        repeated_rows: rows that are stored twice until ClickHouse merges them; queries do not see them.
        in_flight: offsets in the ledger that are not committed yet.
        foreign: offsets in the ledger behind the end of the log: they are of an earlier topic, or another cluster.
        gaps: what is not in the ledger, by cause.
        unverified: offsets that are not in the ledger, in more ranges than are looked up in Kafka.
        looked_up: how many ranges were looked up, where there are more.
    """

    partition: Partition
    log_start: int
    log_end: int
    committed: int | None
    unstable: int = 0
    first: int | None = None
    offsets: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    recreated: int = 0
    repeated_rows: int = 0
    in_flight: int = 0
    foreign: int = 0
    gaps: Sequence[Gap] = ()
    unverified: int = 0
    looked_up: int = 0

    @property
    def lag(self) -> int:
        """Number of records, at most, that are not read yet."""
        return max(self.log_end - max(self.committed or 0, self.log_start), 0)

    @property
    def missing(self) -> Mapping[Cause, int]:
        """Offsets that the ledger lacks, by cause."""
        found: dict[Cause, int] = {}
        for gap in self.gaps:
            found[gap.cause] = found.get(gap.cause, 0) + gap.offsets
        return found | ({"unverified": self.unverified} if self.unverified else {})

    def problems(self) -> list[str]:
        """Return the problems, a sentence each, with the fix."""
        name = f"{self.partition.topic}/{self.partition.number}"
        problems = []
        for cause, meaning in _MEANINGS.items():
            gaps = [gap for gap in self.gaps if gap.cause == cause]
            if gaps:
                number = sum(gap.offsets for gap in gaps)
                fix = meaning.format(place=f"{self.partition.topic}:{self.partition.number}", first=gaps[0].first)
                problems.append(f"{name}: {number:,} offsets {fix}: {_listed(gaps)}")
        if self.committed is None and self.in_flight:
            problems.append(
                f"{name}: the ledger has {self.in_flight:,} offsets, but the group has committed none, so nothing is "
                "audited: correct kafka.group_id, or, if Kafka has deleted the group's offsets or the topic was "
                "recreated, start `runstep run`"
            )
        if self.unverified:
            problems.append(
                f"{name}: {self.unverified:,} offsets are not in the ledger, and whether Kafka holds a record there is "
                f"unknown: they lie in more than {self.looked_up:,} ranges; to look all of them up, run "
                f"`runstep audit --max-gaps {self.looked_up + self.unverified}`"
            )
        if self.committed is not None and self.committed > self.log_end:
            problems.append(
                f"{name}: the committed offset is {self.committed:,}, but the log ends at {self.log_end:,}: the topic "
                "was truncated or recreated; start `runstep run`, which resumes where the two logs differ"
            )
        return problems


_MEANINGS: Mapping[Cause, str] = {
    "lost": (
        "are lost: Kafka holds a record and the ledger has none; to read them again, stop the daemons, run "
        "`kafka-consumer-groups --reset-offsets --topic {place} --to-offset {first}`, and start the daemons"
    ),
    "expired": "are in neither the ledger nor Kafka any more; `runstep audit --held` leaves out what Kafka has deleted",
}


def _listed(gaps: Sequence[Gap], most: int = 10) -> str:
    shown = ", ".join(map(str, gaps[:most]))
    return shown if len(gaps) <= most else f"{shown} and {len(gaps) - most} more ranges"


def _named(examples: Sequence[str], number: int) -> str:
    shown = ", ".join(examples[:_MAX_NAMED])
    return shown if number <= _MAX_NAMED else f"{shown} and {number - _MAX_NAMED:,} more"


@dataclass(slots=True)
class StepAccount:
    """The ledger compared with `run_steps_current`, below the committed offsets.

    Attributes:
        steps: current steps.
        seen_twice: steps that are visible more than once.
        without_row: steps that are stored according to the ledger, and not visible.
        behind: visible steps that lack their latest event according to the ledger.
        without_account: visible steps whose offset is not stored according to the ledger.
        examples: some of each; name of the problem to offsets.
    """

    steps: int = 0
    seen_twice: int = 0
    without_row: int = 0
    behind: int = 0
    without_account: int = 0
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return the problems, a sentence each, with the fix."""
        again = (
            "stop the daemons, reset each partition to the first of these offsets (`kafka-consumer-groups "
            "--reset-offsets`), and start the daemons: reading them again fixes both tables"
        )
        twice = "their events differ in created_at: fix the producer, and delete the wrong rows from run_steps"
        problems = {
            "seen_twice": (self.seen_twice, f"steps are visible twice; {twice}"),
            "without_row": (
                self.without_row,
                f"steps are stored according to the ledger, but not in run_steps; {again}",
            ),
            "behind": (
                self.behind,
                f"steps in run_steps lack their latest event, which is stored according to the ledger; {again}",
            ),
            "without_account": (self.without_account, f"steps in run_steps are not in the ledger; {again}"),
        }
        return [
            f"{number:,} {meaning}: {_named(self.examples.get(name, ()), number)}"
            for name, (number, meaning) in problems.items()
            if number
        ]


@dataclass(slots=True)
class DeadLetterAccount:
    """The ledger's dead-lettered offsets compared with the dead-letter topic.

    Attributes:
        expected: dead-lettered offsets in the ledger.
        found: of these, how many have a dead letter in the topic.
        expired: how many may have had one that Kafka has deleted since.
        missing: some of those without a dead letter, as topic/partition:offset.
        skipped: why they were not compared; None where they were.
    """

    expected: int = 0
    found: int = 0
    expired: int = 0
    missing: Sequence[str] = ()
    skipped: str | None = None

    def problems(self) -> list[str]:
        """Return the problems, a sentence each, with the fix."""
        if self.skipped is not None:
            # It is no problem where there is nothing to compare, or where they were left out on request.
            return [f"{self.skipped}; `runstep audit --no-dead-letters` leaves them out"] if self.expected else []
        lacking = self.expected - self.found - self.expired
        if not lacking:
            return []
        what = f"{lacking:,} dead-lettered offsets have no dead letter in the dead-letter topic"
        fix = "correct dead_letter.topic; if dead letters were deleted, read these records while Kafka holds them"
        return [f"{what}; {fix}: {_named(self.missing, lacking)}"]


@dataclass(slots=True)
class Account:
    """The result of an audit."""

    partitions: Sequence[PartitionAccount]
    steps: StepAccount
    dead_letters: DeadLetterAccount

    def problems(self) -> list[str]:
        """Return the problems, a sentence each; empty when every offset is accounted for."""
        found = [problem for part in self.partitions for problem in part.problems()]
        return found + self.steps.problems() + self.dead_letters.problems()

    @property
    def accounted(self) -> int:
        """Distinct offsets below the committed ones that the ledger has."""
        return sum(part.offsets for part in self.partitions)

    @property
    def unstable(self) -> int:
        """Offsets that no reader gets yet: they wait until a producer's transaction ends."""
        return sum(part.unstable for part in self.partitions)
