"""What is remembered of the sink from batch to batch: how much it takes at once, and a row that it is known to take.

Pure. Used by the insertion, on the writer's thread; any may read `InsertSize.max_rows`.
"""

import math
from typing import Final, NamedTuple

from pipeline.contracts import Columns
from pipeline.daemon.superseded import first_current
from pipeline.errors import SinkRefused

AMBIGUOUS_ATTEMPTS: Final = 2
"""Failures of unknown outcome, each behind a probe that passed, after which an insert is taken for too large."""

GROWS_AFTER: Final = 8
"""Inserts of the reduced size that succeed before a larger one is tried again."""

GROWS_AFTER_AT_MOST: Final = 1024
"""The same, where larger ones have failed again and again."""


class InsertSize:
    """The largest insert to try: halved when one is too large, doubled after successes.

    A size that turns out too large once more is tried again after twice as many successes: where the way to the server
    cannot carry it, each try costs a time-out.

    Attributes:
        max_rows: rows of the largest insert; infinite as long as nothing was too large, or since that passes.
        cause: why there is a limit, None where there is none.
    """

    def __init__(self) -> None:
        self._lift()

    def _lift(self) -> None:
        self.max_rows = math.inf
        self.cause: str | None = None
        self._passed = self._refused = self._accepted = 0
        self._grows_after = GROWS_AFTER

    def ambiguous_attempts(self, rows: int) -> float:
        """Return how often the outcome of such an insert may stay unknown until it is taken for too large.

        At once, where more rows are tried than have passed; never, where there are no fewer rows to try.
        """
        if rows == 1:
            return math.inf
        return AMBIGUOUS_ATTEMPTS if self.max_rows == math.inf or rows <= self._passed else 0

    def rejected(self, rows: int, cause: str) -> None:
        """Note that so many rows were too large an insert, and why."""
        if rows <= self._passed:
            self._passed, self._grows_after = 0, GROWS_AFTER
        elif self._passed:
            self._grows_after = min(self._grows_after * 2, GROWS_AFTER_AT_MOST)
        self.cause, self._accepted, self._refused = cause, 0, max(self._refused, rows)
        self.max_rows = max(rows // 2, self._passed, 1)

    def accepted(self, rows: int) -> None:
        """Note that so many rows were accepted; only inserts of about the largest size say something."""
        if self.max_rows == math.inf or rows * 2 < self.max_rows:
            return
        if rows >= self._refused:
            self._lift()
            return
        if rows > self._passed:
            self._passed, self._grows_after = rows, GROWS_AFTER
        self._accepted += 1
        if self._accepted >= self._grows_after:
            self.max_rows, self._accepted = self.max_rows * 2, 0


class Doubt(NamedTuple):
    """A row that was rejected once, how, and how many inserts had passed by then."""

    row: int
    passed: int
    refusal: SinkRefused


class AcceptedInserts:
    """The inserts of this batch that succeeded, and one known-good row to probe with."""

    def __init__(self) -> None:
        self._accepted: list[Columns] = []
        self._known_good: Columns | None = None

    def begin(self) -> None:
        """Forget all but the known-good row: another batch."""
        self._known_good, self._accepted = self.known_good_row(), []

    def add(self, columns: Columns) -> None:
        """Note an insert that succeeded."""
        self._accepted.append(columns)

    def __len__(self) -> int:
        return len(self._accepted)

    def step_since(self, count: int) -> bool:
        """Return whether a step was accepted since so many inserts had been."""
        return any(first_current(columns) is not None for columns in self._accepted[count:])

    def known_good_row(self) -> Columns | None:
        """Return a row that passed into `run_steps`, the latest that is known; None before the first."""
        for columns in reversed(self._accepted):
            row = first_current(columns)
            if row is not None:
                return [column[row : row + 1] for column in columns]
        return self._known_good
