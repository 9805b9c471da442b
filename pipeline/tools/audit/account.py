"""What an audit found, as plain data, and which of it is bad news. Pure.

An offset is accounted for if it is below the committed one and the ledger has a row of it, or if Kafka has no record
there: a transaction's marker or an aborted record, or one that compaction took. It is **lost** if Kafka still holds a
record there, and **expired** if neither the ledger nor Kafka has it any more: nobody can tell then what it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from pipeline.records import Partition

EXAMPLES: Final = 10
"""Of what is wrong, as many are named."""
_SHOWN: Final = 3
"""Names in a sentence; all examples are in the JSON."""

Cause: TypeAlias = Literal["lost", "expired", "transaction", "compaction", "unverified"]
"""Why a range of offsets is not in the ledger; `unverified` where there are too many to look at each."""


class Gap(NamedTuple):
    """Offsets from `first` to `last`, both included, that are below the committed one and not in the ledger."""

    first: int
    last: int
    cause: Cause

    @property
    def offsets(self) -> int:
        """How many they are."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Return the offsets as people write them."""
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(slots=True)
class PartitionAccount:
    """One partition: where Kafka stands, and what the ledger has below the committed offset.

    Attributes:
        log_start: the first offset that Kafka holds.
        log_end: the offset behind the last record that may be read.
        committed: the group's next offset; None where it has never committed.
        first: the first offset of the ledger that is audited.
        offsets: distinct offsets in the ledger, from `first` to `committed`.
        outcomes: of these, outcome to number; one with several steps is what became of its worst.
        recreated: offsets that the ledger has with several timestamps: the topic was made again.
        repeated_rows: rows that lie there twice until they are merged; nobody can see them.
        in_flight: offsets in the ledger that are not committed yet.
        gaps: what is not in the ledger, by cause.
        unverified: offsets that are not in the ledger, in more ranges than can be looked at.
    """

    partition: Partition
    log_start: int
    log_end: int
    committed: int | None
    first: int | None = None
    offsets: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    recreated: int = 0
    repeated_rows: int = 0
    in_flight: int = 0
    gaps: Sequence[Gap] = ()
    unverified: int = 0

    @property
    def lag(self) -> int:
        """Records (at most) that wait to be read."""
        return max(self.log_end - max(self.committed or 0, self.log_start), 0)

    @property
    def missing(self) -> Mapping[Cause, int]:
        """Offsets that the ledger lacks, by cause."""
        found: dict[Cause, int] = {}
        for gap in self.gaps:
            found[gap.cause] = found.get(gap.cause, 0) + gap.offsets
        return found | ({"unverified": self.unverified} if self.unverified else {})

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each, with its fix."""
        name = f"{self.partition.topic}/{self.partition.number}"
        said = []
        for cause, meaning in _MEANINGS.items():
            gaps = [gap for gap in self.gaps if gap.cause == cause]
            if gaps:
                number = sum(gap.offsets for gap in gaps)
                fix = meaning.format(place=f"{self.partition.topic}:{self.partition.number}", first=gaps[0].first)
                said.append(f"{name}: {number:,} offsets {fix}: {_listed(gaps)}")
        if self.committed is None and self.in_flight:
            said.append(
                f"{name}: the ledger has {self.in_flight:,} offsets, but this group has committed none, so that "
                "nothing is audited: correct kafka.group_id, or, if Kafka has forgotten it, start `runstep run`"
            )
        if self.committed is not None and self.committed > self.log_end:
            said.append(
                f"{name}: committed is {self.committed:,}, but the log ends at {self.log_end:,}: it was truncated or "
                "made again; the daemon reads it from where the two part"
            )
        return said


_MEANINGS: Mapping[Cause, str] = {
    "lost": (
        "are lost: Kafka holds a record and the ledger none; to read them again, stop the daemons, "
        "`kafka-consumer-groups --reset-offsets --topic {place} --to-offset {first}`, and start them"
    ),
    "expired": "are neither in the ledger nor in Kafka any more; --held leaves out what Kafka has dropped",
}


def _listed(gaps: Sequence[Gap], most: int = 10) -> str:
    shown = ", ".join(map(str, gaps[:most]))
    return shown if len(gaps) <= most else f"{shown} and {len(gaps) - most} more ranges"


def _named(examples: Sequence[str], number: int) -> str:
    shown = ", ".join(examples[:_SHOWN])
    return shown if number <= _SHOWN else f"{shown} and {number - _SHOWN:,} more"


@dataclass(slots=True)
class StepAccount:
    """The ledger against `run_steps_current`, below the committed offsets.

    Attributes:
        steps: current steps.
        seen_twice: steps that are visible more than once.
        without_row: steps that the ledger calls stored, and that are not visible.
        behind: visible steps whose latest event is stored by the ledger alone.
        without_account: visible steps whose offset the ledger does not call stored.
        examples: some of each, `problem name -> offsets`.
    """

    steps: int = 0
    seen_twice: int = 0
    without_row: int = 0
    behind: int = 0
    without_account: int = 0
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each, with its fix."""
        again = (
            "stop the daemons, set each partition back to the first of them (`kafka-consumer-groups --reset-offsets`), "
            "and start them: what is read again fixes both tables"
        )
        twice = "their events differ in created_at: fix what sends them, and delete the wrong rows from run_steps"
        said = {
            "seen_twice": (self.seen_twice, f"steps are visible twice; {twice}"),
            "without_row": (self.without_row, f"steps are stored by the ledger and not in run_steps; {again}"),
            "behind": (self.behind, f"steps in run_steps lack their latest event, which the ledger stored; {again}"),
            "without_account": (self.without_account, f"steps in run_steps are not in the ledger; {again}"),
        }
        return [
            f"{number:,} {meaning}: {_named(self.examples.get(name, ()), number)}"
            for name, (number, meaning) in said.items()
            if number
        ]


@dataclass(slots=True)
class DeadLetterAccount:
    """The ledger's dead-lettered offsets against the dead-letter topic.

    Attributes:
        expected: dead-lettered offsets in the ledger.
        found: of these, how many have a dead letter in the topic.
        expired: how many may have had one that the topic has dropped since.
        missing: some of those without a dead letter, as topic/partition:offset.
        skipped: why nothing was compared, None where it was.
    """

    expected: int = 0
    found: int = 0
    expired: int = 0
    missing: Sequence[str] = ()
    skipped: str | None = None

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each, with its fix."""
        lacking = self.expected - self.found - self.expired
        if self.skipped is not None or not lacking:
            return []
        what = f"{lacking:,} dead-lettered offsets have no dead letter in the dead-letter topic"
        fix = "correct dead_letter.topic; if dead letters were deleted, look at the records while Kafka holds them"
        return [f"{what}; {fix}: {_named(self.missing, lacking)}"]


@dataclass(slots=True)
class Account:
    """All of it."""

    partitions: Sequence[PartitionAccount]
    steps: StepAccount
    dead_letters: DeadLetterAccount

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each; empty when every offset is accounted for."""
        found = [problem for part in self.partitions for problem in part.problems()]
        return found + self.steps.problems() + self.dead_letters.problems()

    @property
    def accounted(self) -> int:
        """Distinct offsets below the committed ones that the ledger has."""
        return sum(part.offsets for part in self.partitions)

    @property
    def unverified(self) -> int:
        """Offsets that the ledger lacks and nobody has looked up in Kafka."""
        return sum(part.unverified for part in self.partitions)
