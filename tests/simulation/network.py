"""The network between one simulated process and its servers, where requests fail and where the oracle listens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pipeline.records import Partition, Record

LATENCY: Final = 0.002
"""Seconds that a request takes one way."""


class Network:
    """The network between one process and its servers, and what a test observes on it; a world overrides it.

    Attributes:
        cut: nothing passes.
    """

    cut = False

    def silent(self) -> bool:
        """Return whether no heartbeat gets through: the process is frozen or dead, or the network is cut."""
        return self.cut

    def fault(self, request: str) -> str:
        """Return the name of the fault that this request meets, '' for none."""
        return ""

    def started(self, partition: Partition) -> None:
        """Take note that a partition is read from its committed offset."""

    def delivered(self, partition: Partition, records: Sequence[Record]) -> None:
        """Take note of what poll returns."""

    def confirmed(self, offsets: Mapping[Partition, int]) -> None:
        """Take note of a commit that the process knows of."""

    def lost(self, partition: Partition, first: int, last: int) -> None:
        """Take note of offsets that were reported lost."""

    def leave_behind(self, action: Callable[[], None]) -> None:
        """Let the server do something later, though no caller waits for it any more."""
