"""When so many records of a partition are refused that it is no longer the records' fault.

Owns the two limits and their arithmetic. Pure. A new release upstream that breaks every event must not empty the topic
into the dead letters: beyond a limit the partition is halted, and the rest stays in Kafka.
"""

from dataclasses import dataclass
from typing import Final

FEWEST: Final = 1_000
"""A share of fewer records says nothing."""
WINDOW: Final = 10_000
"""Records after which what came before counts half."""


@dataclass(slots=True)
class Refusals:
    """The refused among the latest records of one partition.

    Attributes:
        max_consecutive: refused records in a row that are still accepted; 0 is no limit.
        max_ratio: share of refused records that is still accepted, from `FEWEST` records on; 1 is no limit.
        in_a_row: refused records since the last good one.
        records: how many were looked at, older ones with less weight.
        refused: how many of them were refused.
    """

    max_consecutive: int = 0
    max_ratio: float = 1.0
    in_a_row: int = 0
    records: float = 0.0
    refused: float = 0.0

    def note(self, records: int, refused: int, refused_last: int) -> None:
        """Take in records that were read, how many of them were refused, and how many of those came last, in a row."""
        self.in_a_row = self.in_a_row + refused_last if refused_last == records else refused_last
        self.records += records
        self.refused += refused
        while self.records > WINDOW:
            self.records /= 2
            self.refused /= 2

    def excess(self) -> str | None:
        """Return which limit is passed, for people; None while none is."""
        most, share = self.max_consecutive, self.max_ratio
        if most and self.in_a_row > most:
            return f"{self.in_a_row} records in a row were refused (dead_letter.max_consecutive is {most})"
        if self.records >= FEWEST and self.refused > share * self.records:
            refused = self.refused / self.records
            return f"{refused:.0%} of the latest records were refused (dead_letter.max_ratio is {share:g})"
        return None
