"""One batch's way into the sink: whole if it passes, in pieces if it must be, down to the guilty row or partition.

Owns what is done about a refusal, and about a failure that nobody understands; waiting for the end of an outage is the
writer's. Every piece has a token of its own, made of the batch's token and the piece's rows, so that the same piece
sent again is the same insert. Runs on the writer's thread.
"""

import math
from typing import Final, Protocol

from pipeline.batch import Batch
from pipeline.contracts import Columns
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Outcome, Partition
from schemas.row import INDEX

HOPELESS_REFUSALS: Final = 20
"""So many rows refused in a row, before any has passed since the start: it is the table that is wrong, not the rows."""
DOUBTFUL_REFUSALS: Final = 3
"""So many rows of a batch refused before one has passed: time to look whether any row passes."""
GROWS_AFTER: Final = 8
"""Inserts of the reduced size that pass before a larger one is tried again."""
LOOKS_BACK: Final = 10
"""Rows looked at for one that holds a step; most do."""

_OUTCOME: Final = INDEX["outcome"]


class Unexplained(Exception):
    """An insert failed for an unknown reason as often as is allowed; the message says how it failed last."""


class Persist(Protocol):
    """How the writer makes one insert: tries until it succeeds or is refused."""

    def __call__(self, columns: Columns, token: str) -> None:
        """Insert.

        Raises:
            SinkRefused: the rows, as they are, do not pass.
            Unexplained: nobody understands why it fails.
        """


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


class Insertion:
    """Inserts batches, one at a time; remembers what it learned of the sink from one to the next.

    Attributes:
        appetite: rows at once.
    """

    def __init__(self, persist: Persist) -> None:
        self._persist = persist
        self._batch = Batch()
        self._refused: list[tuple[int, SinkRefused]] = []
        self._passed: list[tuple[int, int]] = []
        self._unexplained: dict[Partition, str] = {}
        self._proven: Columns | None = None
        self._hopeless = 0
        self.appetite = Appetite()

    def run(self, batch: Batch) -> None:
        """Insert every row; a row that the sink refuses becomes a dead letter.

        Parts that fail for reasons nobody understands end up in `batch.given_up`. May be called again after it raised.

        Raises:
            SinkUnavailable: not even a row that has passed before passes: the fault is not in the rows.
        """
        self._batch, self._refused, self._passed, self._unexplained = batch, [], [], {}
        self._insert(0, batch.rows, batch.token)
        if self._refused:
            self._judge()
        for row, refusal in self._refused:
            batch.refuse(row, str(refusal))
            self._account(row)
        self._remember()
        for partition, cause in self._unexplained.items():
            batch.give_up(partition, cause)

    def _insert(self, start: int, stop: int, token: str) -> None:
        if stop - start > self.appetite.most:
            self._halve(start, stop)
            return
        try:
            self._persist(self._batch.columns(start, stop), token)
        except SinkRefused as refusal:
            self._refuse(start, stop, refusal)
        except Unexplained as failure:
            self._give_up(start, stop, failure)
        else:
            self._passed.append((start, stop))
            self.appetite.swallowed(stop - start)

    def _halve(self, start: int, stop: int) -> None:
        middle = (start + stop) // 2
        for low, high in ((start, middle), (middle, stop)):
            self._insert(low, high, f"{self._batch.token}/{low}-{high}")

    def _refuse(self, start: int, stop: int, refusal: SinkRefused) -> None:
        """Look closer at rows that were refused: in halves, to the single one.

        Raises:
            SinkUnavailable: a single row is too much for the sink, or no row passes.
        """
        if refusal.error_class is ErrorClass.SHAPE:
            if stop - start == 1:
                raise _environment(refusal)
            self.appetite.choked(stop - start)
        if stop - start > 1:
            self._halve(start, stop)
            return
        self._refused.append((start, refusal))
        self._hopeless += 1
        if len(self._refused) % DOUBTFUL_REFUSALS == 0:
            self._judge()

    def _judge(self) -> None:
        """Make sure that it is the refused rows' fault: some other row has passed, or passes again.

        A row that passed before is inserted once more: by its keys it takes the place of itself.

        Raises:
            SinkUnavailable: no row passes.
        """
        if any(self._holds_step(start, stop) for start, stop in self._passed):
            return
        refusal = self._refused[-1][1]
        if self._proven is None:
            if self._hopeless > HOPELESS_REFUSALS:
                raise _environment(refusal)
            return
        try:
            self._persist(self._proven, f"{self._batch.token}/proof-{len(self._refused)}")
        except SinkRefused as again:
            raise _environment(again) from None

    def _holds_step(self, start: int, stop: int) -> bool:
        return Outcome.STORED.value in self._batch.columns(start, stop)[_OUTCOME]

    def _account(self, row: int) -> None:
        """Give the ledger the row of a refused step; nothing of it goes to `run_steps`.

        Raises:
            SinkUnavailable: not even that passes.
        """
        try:
            self._persist(self._batch.columns(row, row + 1), f"{self._batch.token}/refused-{row}")
        except SinkRefused as refusal:
            raise _environment(refusal) from None

    def _give_up(self, start: int, stop: int, failure: Unexplained) -> None:
        """Find the partitions that fail for an unknown reason, so that the others go on."""
        spans = list(self._batch.spans(start, stop))
        if len(spans) == 1:
            self._unexplained[spans[0][0]] = str(failure)
            return
        for _, low, high in spans:
            self._insert(low, high, f"{self._batch.token}/{low}-{high}")

    def _remember(self) -> None:
        """Keep one step that has passed, to tell a broken table from a bad row later; the last ones are looked at."""
        for start, stop in self._passed[-1:]:
            for row in range(stop - 1, max(start, stop - LOOKS_BACK) - 1, -1):
                if self._holds_step(row, row + 1):
                    self._proven = self._batch.columns(row, row + 1)
                    self._hopeless = 0
                    return


def _environment(refusal: SinkRefused) -> SinkUnavailable:
    return SinkUnavailable(f"no row passes: {refusal}", ErrorClass.ENVIRONMENT, refusal.code)
