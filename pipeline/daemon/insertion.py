"""How a batch is inserted, and what is done about rows and partitions that do not pass.

Owns what is done about a refusal, and about a failure that nobody understands; waiting for the end of an outage is the
writer's. A row is guilty if it was refused, another step passed, and it is refused again: a table that is broken for a
while is nobody's guilt. A partition that was given up is suspected until it passes: its rows come last, by themselves,
and are not tried for long, since all others wait meanwhile. Every piece has a token of its own, made of the batch's
token and the piece's rows, so that the same piece sent again is the same insert. Runs on the writer's thread.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from pipeline.contracts import Columns
from pipeline.daemon.appetite import Appetite
from pipeline.daemon.batch import Batch
from pipeline.daemon.bearing import take_in
from pipeline.daemon.evidence import Evidence
from pipeline.daemon.rejection_limits import Refusals
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Partition

DOUBTFUL_REFUSALS: Final = 3
"""So many rows refused one after the other without one that passed: time to look whether any row passes."""
HOPELESS_REFUSALS: Final = 20
"""So many rows refused, and none has passed since the start: the others are not tried any more."""
REVIEW_AFTER: Final = 100
"""So many rows refused: time to look whether a partition has too many of them to be tried to the end."""


class Unexplained(Exception):
    """An insert failed for an unknown reason as often as is allowed; the message says how it failed last."""


class Persist(Protocol):
    """How the writer makes one insert: tries until it succeeds or is refused."""

    def __call__(self, columns: Columns, token: str, *, suspected: bool = False) -> None:
        """Insert; where the rows are suspected, do not try for long what nobody understands.

        Raises:
            SinkRefused: the rows, as they are, do not pass.
            Unexplained: nobody understands why it fails.
        """


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
        self._passed = Evidence()
        self._given_up: dict[Partition, str] = {}
        self._suspects: dict[Partition, Refusals | None] = {}
        self._floods: dict[Partition, Refusals] = {}
        self._review_at = REVIEW_AFTER
        self._proofs = 0
        self.appetite = Appetite()

    def run(self, batch: Batch) -> None:
        """Insert every row; a row that the sink refuses becomes a dead letter.

        Parts that fail for reasons nobody understands, or have more refused rows than is bearable, end up in
        `batch.given_up`. May be called again after it raised.

        Raises:
            SinkUnavailable: not even a row that has passed before passes, or none ever has: the fault may not be in
                the rows.
        """
        self._batch, self._guilty, self._doubts, self._given_up, self._floods = batch, {}, [], {}, {}
        self._review_at = REVIEW_AFTER
        self._passed.begin()
        spans = sorted(batch.spans(0, batch.rows), key=lambda span: span[0] in self._suspects)
        if self._suspects.keys().isdisjoint(batch.parts):
            self._insert(0, batch.rows, batch.token)
        else:
            self._insert_apart(spans)
        self._settle()
        for partition, low, high in spans:
            self._judge(partition, low, high, batch.parts[partition].assignment.sink_refusals)
        for row, refusal in sorted(self._guilty.items()):
            self._account(row, refusal)
        self._conclude()

    def _conclude(self) -> None:
        """Remember what was learned of the sink and of the partitions, now that nothing can fail any more."""
        self._passed.begin()
        for partition in self._batch.parts:
            self._suspects.pop(partition, None)
        for partition, cause in self._given_up.items():
            self._suspects[partition] = self._floods.get(partition)
            self._batch.give_up(partition, cause)
        for part in self._batch.parts.values():
            take_in(part.assignment.sink_refusals, part, (), part.rows())

    def _insert(self, start: int, stop: int, token: str) -> bool:
        """Insert rows, in pieces if they must be, but for partitions given up; return whether all have passed."""
        self._review(start)
        spans = list(self._batch.spans(start, stop))
        if any(partition in self._given_up for partition, _, _ in spans):
            self._insert_apart(spans)
            return False
        if stop - start > self.appetite.most:
            return self._halve(start, stop)
        try:
            self._send(start, stop, token)
        except SinkRefused as refusal:
            return self._look_closer(start, stop, refusal)
        except Unexplained as failure:
            self._give_up(start, stop, failure)
            return False
        self.appetite.swallowed(stop - start)
        return True

    def _insert_apart(self, spans: Iterable[tuple[Partition, int, int]]) -> None:
        """Insert each partition's rows by themselves, but for those that were given up."""
        for partition, low, high in spans:
            if partition not in self._given_up:
                self._insert(low, high, self._token(low, high))

    def _send(self, start: int, stop: int, token: str) -> None:
        """Make one insert; see `Persist`."""
        columns = self._batch.columns(start, stop)
        suspected = any(partition in self._suspects for partition, _, _ in self._batch.spans(start, stop))
        self._persist(columns, token, suspected=suspected)
        self._passed.add(columns)

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
        if self._partition(row) in self._given_up:
            return
        try:
            self._send(row, row + 1, self._token(row, row + 1))
        except SinkRefused as refusal:
            if refusal.error_class is ErrorClass.SHAPE:
                raise _environment(refusal) from None
            if self._passed.step_since(passed):
                self._guilty[row] = refusal
            else:
                self._doubt(_Doubt(row, len(self._passed), refusal))
        except Unexplained as failure:
            self._give_up(row, row + 1, failure)

    def _doubt(self, doubt: _Doubt) -> None:
        """Keep a refused row for later; after some in a row, look first whether any row passes."""
        self._doubts.append(doubt)
        often = DOUBTFUL_REFUSALS if self._passed.one_step() else HOPELESS_REFUSALS
        if len(self._doubts) % often == 0:
            self._prove(self._doubts[-often])

    def _settle(self) -> None:
        """Try every doubtful row again, after another row has passed."""
        doubts, self._doubts = self._doubts, []
        for doubt in doubts:
            if self._partition(doubt.row) not in self._given_up:
                self._prove(doubt)
                self._try_again(doubt.row, doubt.passed)

    def _review(self, row: int) -> None:
        """Now and then while rows are refused, judge a partition by its rows in front of one: a flood is cut short.

        So many refusals in a suspect are taken for the flood that it was given up for.
        """
        refused = len(self._guilty) + len(self._doubts)
        if refused < self._review_at:
            return
        self._review_at = refused + REVIEW_AFTER
        self._settle()
        for partition, low, high in self._batch.spans(0, self._batch.rows):
            if low < row < high:
                flood = self._suspects.get(partition)
                self._judge(partition, low, row, flood or self._batch.parts[partition].assignment.sink_refusals)

    def _judge(self, partition: Partition, start: int, stop: int, before: Refusals) -> None:
        """Give a partition up if too many of its rows, from its first on, were refused: it is not the rows' fault."""
        guilty = [row for row in self._guilty if start <= row < stop]
        if not guilty or partition in self._given_up:
            return
        account = replace(before)
        excess = take_in(account, self._batch.parts[partition], [row - start for row in guilty], stop - start)
        if excess is not None:
            self._floods[partition] = account
            cause = f"ClickHouse refused {len(guilty)} rows, {excess}; the latest with: {self._guilty[guilty[-1]]}"
            self._given_up[partition] = cause

    def _partition(self, row: int) -> Partition:
        return next(self._batch.spans(row, row + 1))[0]

    def _prove(self, doubt: _Doubt) -> None:
        """Make sure that a step has passed since a row was refused.

        One that passed before is inserted once more: by its keys it takes the place of itself.

        Raises:
            SinkUnavailable: none passes, or none is known that ever did.
        """
        if self._passed.step_since(doubt.passed):
            return
        step = self._passed.one_step()
        if step is None:
            cause = f"no row passes, and none has passed since the start: {doubt.refusal}"
            raise SinkUnavailable(cause, ErrorClass.UNKNOWN, doubt.refusal.code)
        self._proofs += 1
        try:
            self._persist(step, f"{self._batch.token}/proof-{self._proofs}")
        except SinkRefused as again:
            raise _environment(again) from None
        self._passed.add(step)

    def _account(self, row: int, refusal: SinkRefused) -> None:
        """Make a dead letter of a refused row, and give the ledger its account; nothing of it goes to `run_steps`.

        Raises:
            SinkUnavailable: not even that passes.
        """
        if self._partition(row) in self._given_up:
            return
        self._batch.refuse(row, str(refusal))
        try:
            self._send(row, row + 1, f"{self._batch.token}/refused-{row}")
        except SinkRefused as again:
            raise _environment(again) from None
        except Unexplained as failure:
            self._give_up(row, row + 1, failure)

    def _give_up(self, start: int, stop: int, failure: Unexplained) -> None:
        """Find the partitions that fail for an unknown reason, so that the others go on."""
        spans = list(self._batch.spans(start, stop))
        if len(spans) == 1:
            self._given_up[spans[0][0]] = str(failure)
        else:
            self._insert_apart(spans)


def _environment(refusal: SinkRefused) -> SinkUnavailable:
    return SinkUnavailable(f"no row passes: {refusal}", ErrorClass.ENVIRONMENT, refusal.code)
