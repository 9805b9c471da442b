"""When so many records of a partition are rejected that the partition or the table is at fault, not single records.

Owns the two limits and their arithmetic. Pure. A new release upstream that breaks every event must not empty the topic
into the dead letters: beyond a limit the partition is halted, and the rest stays in Kafka.
"""

from dataclasses import dataclass
from typing import Final

MIN_RECORDS_FOR_RATIO: Final = 1_000
"""A ratio of fewer records says nothing."""
HALVED_AFTER_RECORDS: Final = 10_000
"""Records after which what came before counts half."""


@dataclass(slots=True)
class RejectionLimits:
    """The rejected among the latest records of one partition.

    Attributes:
        max_consecutive: rejected records in a row that are still accepted; 0 is no limit.
        max_ratio: ratio of rejected records that is still accepted, from `MIN_RECORDS_FOR_RATIO` on; 1 is no limit.
        in_a_row: rejected records since the last good one.
        records: how many were looked at, older ones with less weight.
        rejected: how many of them were rejected.
    """

    max_consecutive: int = 0
    max_ratio: float = 1.0
    in_a_row: int = 0
    records: float = 0.0
    rejected: float = 0.0

    def note(self, records: int, rejected: int, rejected_last: int) -> None:
        """Take in records that were read, how many of them were rejected, and how many of those came last, in a row."""
        self.in_a_row = self.in_a_row + rejected_last if rejected_last == records else rejected_last
        self.records += records
        self.rejected += rejected
        while self.records > HALVED_AFTER_RECORDS:
            self.records /= 2
            self.rejected /= 2

    def excess(self) -> str | None:
        """Return which limit is exceeded, for people; None while none is."""
        most, ratio = self.max_consecutive, self.max_ratio
        if most and self.in_a_row > most:
            return f"{self.in_a_row} records in a row were rejected (dead_letter.max_consecutive is {most})"
        if self.records >= MIN_RECORDS_FOR_RATIO and self.rejected > ratio * self.records:
            rejected = self.rejected / self.records
            return f"{rejected:.0%} of the latest records were rejected (dead_letter.max_ratio is {ratio:g})"
        return None
