"""One batch's way into the sink: whole if it passes, in pieces if it must be, down to the guilty row or partition.

Owns what is done about a refusal, and about a failure that nobody understands; waiting for the end of an outage is the
writer's. A row is guilty if it was refused, another step passed, and it is refused again: a table that is broken for a
while is nobody's guilt. Every piece has a token of its own, made of the batch's token and the piece's rows, so that the
same piece sent again is the same insert. Runs on the writer's thread.
"""

import math
from typing import Final, NamedTuple, Protocol

from pipeline.batch import Batch
from pipeline.contracts import Columns
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Outcome, Partition
from schemas.row import INDEX

DOUBTFUL_REFUSALS: Final = 3
"""So many rows refused one after the other without one that passed: time to look whether any row passes."""
HOPELESS_REFUSALS: Final = 20
"""So many rows refused, and none has passed since the start: the others are not tried any more."""
GROWS_AFTER: Final = 8
"""Inserts of the reduced size that pass before a larger one is tried again."""

_OUTCOME: Final = INDEX["outcome"]
_STORED: Final = Outcome.STORED.value


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


class _Doubt(NamedTuple):
    """A row that was refused, how, and how many inserts had passed by then."""

    row: int
    passed: int
    refusal: SinkRefused


class Insertion:
    """Inserts batches, one at a time; remembers what it learned of the sink from one to the next.

    Attributes:
        appetite: rows at once.
    """

    def __init__(self, persist: Persist) -> None:
        self._persist = persist
        self._batch = Batch()
        self._guilty: dict[int, SinkRefused] = {}
        self._doubts: list[_Doubt] = []
        self._passed: list[Columns] = []
        self._unexplained: dict[Partition, str] = {}
        self._proven: Columns | None = None
        self._proofs = 0
        self.appetite = Appetite()

    def run(self, batch: Batch) -> None:
        """Insert every row; a row that the sink refuses becomes a dead letter.

        Parts that fail for reasons nobody understands end up in `batch.given_up`. May be called again after it raised.

        Raises:
            SinkUnavailable: not even a row that has passed before passes, or none ever has: the fault may not be in
                the rows.
        """
        self._batch, self._guilty, self._doubts, self._passed, self._unexplained = batch, {}, [], [], {}
        self._insert(0, batch.rows, batch.token)
        self._settle()
        for row, refusal in sorted(self._guilty.items()):
            batch.refuse(row, str(refusal))
            self._account(row)
        self._proven, self._passed = self._one_step(), []
        for partition, cause in self._unexplained.items():
            batch.give_up(partition, cause)

    def _insert(self, start: int, stop: int, token: str) -> bool:
        """Insert rows, in pieces if they must be; return whether all have passed."""
        if stop - start > self.appetite.most:
            return self._halve(start, stop)
        columns = self._batch.columns(start, stop)
        try:
            self._persist(columns, token)
        except SinkRefused as refusal:
            return self._look_closer(start, stop, refusal)
        except Unexplained as failure:
            self._give_up(start, stop, failure)
            return False
        self._passed.append(columns)
        self.appetite.swallowed(stop - start)
        return True

    def _halve(self, start: int, stop: int) -> bool:
        middle = (start + stop) // 2
        first = self._insert(start, middle, self._token(start, middle))
        return self._insert(middle, stop, self._token(middle, stop)) and first

    def _token(self, start: int, stop: int) -> str:
        return f"{self._batch.token}/{start}-{stop}"

    def _look_closer(self, start: int, stop: int, refusal: SinkRefused) -> bool:
        """React to a refusal of rows; return whether all have passed in the end.

        Raises:
            SinkUnavailable: a single row is too much for the sink, or no row passes.
        """
        if refusal.error_class is ErrorClass.SHAPE:
            if stop - start == 1:
                raise _environment(refusal)
            self.appetite.choked(stop - start)
            return self._halve(start, stop)
        if stop - start == 1:
            self._doubt(_Doubt(start, len(self._passed), refusal))
        else:
            self._corner(start, stop, len(self._passed))
        return False

    def _corner(self, start: int, stop: int, passed: int) -> None:
        """Find the guilty among rows that were refused together.

        Where the first half passes, the second need not be tried as a whole. A row that is left over in this way was
        refused with the others, these passed, and now it is tried alone.

        Args:
            start: first row.
            stop: row behind the last.
            passed: inserts that had passed when the rows were refused.
        """
        if stop - start == 1:
            self._try_again(start, passed)
            return
        middle = (start + stop) // 2
        if self._insert(start, middle, self._token(start, middle)):
            self._corner(middle, stop, passed)
        else:
            self._insert(middle, stop, self._token(middle, stop))

    def _try_again(self, row: int, passed: int) -> None:
        """Insert a row that was refused, alone or with others, when so many inserts had passed.

        Raises:
            SinkUnavailable: a single row is too much for the sink, or no row passes.
        """
        columns = self._batch.columns(row, row + 1)
        try:
            self._persist(columns, self._token(row, row + 1))
        except SinkRefused as refusal:
            if refusal.error_class is ErrorClass.SHAPE:
                raise _environment(refusal) from None
            if self._step_passed_since(passed):
                self._guilty[row] = refusal
            else:
                self._doubt(_Doubt(row, len(self._passed), refusal))
        except Unexplained as failure:
            self._give_up(row, row + 1, failure)
        else:
            self._passed.append(columns)

    def _doubt(self, doubt: _Doubt) -> None:
        """Keep a refused row for later; after some in a row, look first whether any row passes."""
        self._doubts.append(doubt)
        often = DOUBTFUL_REFUSALS if self._one_step() else HOPELESS_REFUSALS
        if len(self._doubts) % often == 0:
            self._prove(self._doubts[-often])

    def _settle(self) -> None:
        """Try every doubtful row again, after another row has passed."""
        doubts, self._doubts = self._doubts, []
        for doubt in doubts:
            self._prove(doubt)
            self._try_again(doubt.row, doubt.passed)

    def _prove(self, doubt: _Doubt) -> None:
        """Make sure that a step has passed since a row was refused.

        One that passed before is inserted once more: by its keys it takes the place of itself.

        Raises:
            SinkUnavailable: none passes, or none is known that ever did.
        """
        if self._step_passed_since(doubt.passed):
            return
        step = self._one_step()
        if step is None:
            cause = f"no row passes, and none has passed since the start: {doubt.refusal}"
            raise SinkUnavailable(cause, ErrorClass.UNKNOWN, doubt.refusal.code)
        self._proofs += 1
        try:
            self._persist(step, f"{self._batch.token}/proof-{self._proofs}")
        except SinkRefused as again:
            raise _environment(again) from None
        self._passed.append(step)

    def _step_passed_since(self, passed: int) -> bool:
        return any(_STORED in columns[_OUTCOME] for columns in self._passed[passed:])

    def _one_step(self) -> Columns | None:
        """Return a row with a step that passed, the latest that is known."""
        for columns in reversed(self._passed):
            if _STORED in columns[_OUTCOME]:
                row = columns[_OUTCOME].index(_STORED)
                return [column[row : row + 1] for column in columns]
        return self._proven

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


def _environment(refusal: SinkRefused) -> SinkUnavailable:
    return SinkUnavailable(f"no row passes: {refusal}", ErrorClass.ENVIRONMENT, refusal.code)
