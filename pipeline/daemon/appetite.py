"""How many rows the sink takes at once."""

import math
from typing import Final

GROWS_AFTER: Final = 8
"""Inserts of the reduced size that pass before a larger one is tried again."""


class Appetite:
    """How many rows the sink takes at once: halved when it chokes, doubled again when it swallows for long enough.

    Attributes:
        most: rows of the largest insert; infinite as long as nothing was too large.
    """

    def __init__(self) -> None:
        self.most = math.inf
        self._passed = 0

    def choked(self, rows: int) -> None:
        """Note that so many rows were too many."""
        self.most = max(rows // 2, 1)
        self._passed = 0

    def swallowed(self, rows: int) -> None:
        """Note that so many rows passed; only inserts of about the largest size say something."""
        if self.most == math.inf or rows * 2 < self.most:
            return
        self._passed += 1
        if self._passed >= GROWS_AFTER:
            self.most, self._passed = self.most * 2, 0
