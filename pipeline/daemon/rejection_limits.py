"""When so many records of a partition are rejected that the partition or the table is at fault, not single records.

Owns the two limits and their arithmetic. Pure. A new release upstream that breaks every event must not empty the topic
into the dead letters: beyond a limit the partition is halted, and the rest stays in Kafka. The reasons are counted with
the rejected, for the cause of the halt; they are a closed set, so the counts stay small.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.records import Partition, Reason

MIN_RECORDS_FOR_RATIO: Final = 1_000
"""A ratio of fewer records says nothing."""
HALVED_AFTER_RECORDS: Final = 10_000
"""Records after which what came before counts half."""


class Excess(NamedTuple):
    """A limit that is exceeded: what was seen, and the setting that allows more."""

    seen: str
    setting: str

    def cause(self, partition: Partition, latest: str) -> str:
        """Return why the partition is halted, and what to do; `latest` says what is wrong with the latest record."""
        return (
            f"{self.seen}; {latest}; look at them with `runstep dlq list --origin {partition.topic}/{partition.number}`"
            f" and remove the cause, or raise {self.setting}"
        )


@dataclass(slots=True)
class RejectionLimits:
    """The rejected among the latest records of one partition; a copy by `replace` shares nothing that changes.

    Attributes:
        max_consecutive: rejected records in a row that are still accepted; 0 is no limit.
        max_ratio: ratio of rejected records that is still accepted, from `MIN_RECORDS_FOR_RATIO` on; 1 is no limit.
        in_a_row: rejected records since the last good one.
        reasons_in_a_row: how many of them were rejected for which reason.
        records: how many were looked at, older ones with less weight.
        rejected: how many of them were rejected.
        reasons: how many of these were rejected for which reason.
    """

    max_consecutive: int = 0
    max_ratio: float = 1.0
    in_a_row: int = 0
    reasons_in_a_row: dict[Reason, int] = field(default_factory=dict)
    records: float = 0.0
    rejected: float = 0.0
    reasons: dict[Reason, float] = field(default_factory=dict)

    def note(self, records: int, rejected: Sequence[Reason], rejected_last: int) -> None:
        """Take in records that were read, why some were rejected, and how many of those came last, in a row."""
        goes_on = rejected_last == records
        self.in_a_row = self.in_a_row + rejected_last if goes_on else rejected_last
        if rejected or not goes_on:
            row = Counter(self.reasons_in_a_row if goes_on else ())
            row.update(rejected[len(rejected) - rejected_last :])
            self.reasons_in_a_row = row
        if rejected:
            self.reasons = _added(self.reasons, Counter(rejected))
        self.records += records
        self.rejected += len(rejected)
        while self.records > HALVED_AFTER_RECORDS:
            self.records /= 2
            self.rejected /= 2
            self.reasons = {reason: number / 2 for reason, number in self.reasons.items()}

    def excess(self) -> Excess | None:
        """Return which limit is exceeded; None while none is."""
        most, ratio = self.max_consecutive, self.max_ratio
        if most and self.in_a_row > most:
            seen = f"{self.in_a_row:,} records in a row were rejected: {_listed(self.reasons_in_a_row)}"
            return Excess(seen, f"dead_letter.max_consecutive (now {most:,}; 0 is no limit)")
        if self.records >= MIN_RECORDS_FOR_RATIO and self.rejected > ratio * self.records:
            share = f"{self.rejected / self.records:.0%} of the latest {self.records:,.0f} records were rejected"
            seen = f"{share}: {_listed(self.reasons)}"
            return Excess(seen, f"dead_letter.max_ratio (now {ratio:g}; 1 is no limit)")
        return None


def _added(known: Mapping[Reason, float], more: Mapping[Reason, int]) -> dict[Reason, float]:
    return {reason: known.get(reason, 0) + more.get(reason, 0) for reason in {**known, **more}}


def _listed(reasons: Mapping[Reason, float]) -> str:
    """Return the reasons and how often each came, the most frequent first."""
    often = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{reason} {number:,.0f}" for reason, number in often if number >= 0.5)  # noqa: PLR2004 - shown as 1
