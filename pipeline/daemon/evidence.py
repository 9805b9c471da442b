"""What has passed: whether the sink takes rows at all is seen from it. Pure."""

from typing import Final

from pipeline.contracts import Columns
from pipeline.records import Outcome
from schemas.row import INDEX

_OUTCOME: Final = INDEX["outcome"]
_STORED: Final = Outcome.STORED.value


class Evidence:
    """The inserts that have passed since a batch was begun, and a step that did before."""

    def __init__(self) -> None:
        self._passed: list[Columns] = []
        self._proven: Columns | None = None

    def begin(self) -> None:
        """Forget all but one step: another batch."""
        self._proven, self._passed = self.one_step(), []

    def add(self, columns: Columns) -> None:
        """Take in an insert that passed."""
        self._passed.append(columns)

    def __len__(self) -> int:
        return len(self._passed)

    def step_since(self, passed: int) -> bool:
        """Return whether a step has passed since so many inserts had."""
        return any(_STORED in columns[_OUTCOME] for columns in self._passed[passed:])

    def one_step(self) -> Columns | None:
        """Return a row with a step that passed, the latest that is known."""
        for columns in reversed(self._passed):
            if _STORED in columns[_OUTCOME]:
                row = columns[_OUTCOME].index(_STORED)
                return [column[row : row + 1] for column in columns]
        return self._proven
