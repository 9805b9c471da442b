"""How a batch is inserted, and what is done about rows and partitions that do not pass.

Owns the reaction to a rejection, and to an unclassified failure; an outage is waited for in `attempts`.
At the first rejection the batch is made whole: of a step whose newest row is rejected, an older one is current.
A row is rejected only after two rejections with a successful insert between them; otherwise the table may be at fault.
A partition that was given up is suspected until it passes: its rows come last, by themselves, and are not tried for
long, since all others wait meanwhile. Every piece has a token of its own, made of the batch's token and the piece's
rows, so that the same piece sent again is the same insert. Runs on the writer's thread.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from pipeline.daemon.attempts import Attempts, Unclassified
from pipeline.daemon.batch import Batch, Restored
from pipeline.daemon.insert_memory import AcceptedInserts, Doubt, InsertSize
from pipeline.daemon.rejection_limits import RejectionLimits
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Partition

REJECTIONS_BEFORE_PROBE: Final = 3
"""Rows rejected one after the other without one that passed: time to look whether any row passes."""
REJECTIONS_BEFORE_ANY_PASSED: Final = 20
"""Rows rejected while none has passed since the start: the others are not tried any more."""
REJECTIONS_BEFORE_REVIEW: Final = 100
"""Rows rejected: time to look whether a partition has too many of them to be tried to the end."""


class Insertion:
    """Inserts batches, one at a time; remembers what it learned of the sink from one to the next.

    Attributes:
        size: rows at once.
    """

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._batch = Batch()
        self._rejected: dict[int, SinkRefused] = {}
        self._doubts: list[Doubt] = []
        self._accepted = AcceptedInserts()
        self._given_up: dict[Partition, str] = {}
        self._suspects: dict[Partition, RejectionLimits | None] = {}
        self._floods: dict[Partition, RejectionLimits] = {}
        self._review_at = REJECTIONS_BEFORE_REVIEW
        self._probes = 0
        self.size = InsertSize()

    def run(self, batch: Batch) -> None:
        """Insert every row, however long an outage lasts; a row that the sink rejects becomes a dead letter.

        Parts with unclassified failures, or with more rejected rows than the limits allow, end up in `batch.given_up`.

        Raises:
            Unclassified: that no row passes has an unknown reason, as often as is allowed.
        """
        self._attempts.persist(partial(self._run, batch))

    def _run(self, batch: Batch) -> None:
        """Insert every row, from the batch's beginning; repeated after it raised.

        Raises:
            SinkUnavailable: not even a known-good row passes, or none is known: the fault may not be in the rows.
        """
        spans = sorted(batch.spans(0, batch.rows), key=lambda span: span[0] in self._suspects)
        try:
            self._begin(batch, spans)
        except Restored:
            self._begin(batch, spans)
        self._settle()
        for partition, low, high in spans:
            self._judge(partition, low, high, batch.parts[partition].assignment.sink_limits)
        for row, refusal in sorted(self._rejected.items()):
            self._account(row, refusal)
        self._conclude()

    def _begin(self, batch: Batch, spans: Iterable[tuple[Partition, int, int]]) -> None:
        """Insert every row once, from the batch's beginning.

        Raises:
            Restored: a row was rejected, and the batch is whole again.
        """
        self._batch, self._rejected, self._doubts, self._given_up, self._floods = batch, {}, [], {}, {}
        self._review_at = REJECTIONS_BEFORE_REVIEW
        self._accepted.begin()
        if self._suspects.keys().isdisjoint(batch.parts):
            self._insert(0, batch.rows, batch.token)
        else:
            self._insert_apart(spans)

    def _conclude(self) -> None:
        """Remember what was learned of the sink and of the partitions, now that nothing can fail any more."""
        self._accepted.begin()
        for partition in self._batch.parts:
            self._suspects.pop(partition, None)
        for partition, cause in self._given_up.items():
            self._suspects[partition] = self._floods.get(partition)
            self._batch.give_up(partition, cause)
        for part in self._batch.parts.values():
            part.count_rejected(part.assignment.sink_limits, (), part.rows())

    def _insert(self, start: int, stop: int, token: str) -> bool:
        """Insert rows, in pieces if they must be, but for partitions given up; return whether all have passed."""
        self._review(start)
        spans = list(self._batch.spans(start, stop))
        if any(partition in self._given_up for partition, _, _ in spans):
            self._insert_apart(spans)
            return False
        if stop - start > self.size.max_rows:
            return self._halve(start, stop)
        try:
            self._send(start, stop, token)
        except SinkRefused as refusal:
            return self._look_closer(start, stop, refusal)
        except Unclassified as failure:
            self._give_up(start, stop, failure)
            return False
        self.size.accepted(stop - start)
        return True

    def _insert_apart(self, spans: Iterable[tuple[Partition, int, int]]) -> None:
        """Insert each partition's rows by themselves, but for those that were given up."""
        for partition, low, high in spans:
            if partition not in self._given_up:
                self._insert(low, high, self._token(low, high))

    def _send(self, start: int, stop: int, token: str) -> None:
        """Make one insert; see `Attempts.insert`."""
        columns = self._batch.columns(start, stop)
        suspected = any(partition in self._suspects for partition, _, _ in self._batch.spans(start, stop))
        ambiguous_attempts = self.size.ambiguous_attempts(stop - start)
        self._attempts.insert(columns, token, suspected=suspected, ambiguous_attempts=ambiguous_attempts)
        self._accepted.add(columns)

    def _halve(self, start: int, stop: int) -> bool:
        middle = (start + stop) // 2
        first = self._insert(start, middle, self._token(start, middle))
        return self._insert(middle, stop, self._token(middle, stop)) and first

    def _token(self, start: int, stop: int) -> str:
        return f"{self._batch.token}/{start}-{stop}"

    def _look_closer(self, start: int, stop: int, refusal: SinkRefused) -> bool:
        """React to a rejection of rows; return whether all have passed in the end.

        Raises:
            SinkUnavailable: a single row is too much for the sink, or no row passes.
        """
        if refusal.error_class is ErrorClass.SHAPE:
            if stop - start == 1:
                raise _environment(refusal)
            self.size.rejected(stop - start, str(refusal))
            self._attempts.split(stop - start, self.size.max_rows, refusal)
            return self._halve(start, stop)
        if self._batch.restore():
            raise Restored
        if stop - start == 1:
            self._doubt(Doubt(start, len(self._accepted), refusal))
        else:
            self._corner(start, stop, len(self._accepted))
        return False

    def _corner(self, start: int, stop: int, passed: int) -> None:
        """Find the rows at fault among rows that were rejected together.

        Where the first half passes, the second need not be tried as a whole. A row that is left over in this way was
        rejected with the others, these passed, and now it is tried alone.

        Args:
            start: first row.
            stop: row behind the last.
            passed: inserts that had passed when the rows were rejected.
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
        """Insert a row that was rejected, alone or with others, when so many inserts had passed.

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
            if self._accepted.step_since(passed):
                self._rejected[row] = refusal
            else:
                self._doubt(Doubt(row, len(self._accepted), refusal))
        except Unclassified as failure:
            self._give_up(row, row + 1, failure)

    def _doubt(self, doubt: Doubt) -> None:
        """Keep a rejected row for later; after some in a row, look first whether any row passes."""
        self._doubts.append(doubt)
        known_good = self._accepted.known_good_row()
        often = REJECTIONS_BEFORE_PROBE if known_good else REJECTIONS_BEFORE_ANY_PASSED
        if len(self._doubts) % often == 0:
            self._probe(self._doubts[-often])

    def _settle(self) -> None:
        """Try every doubtful row again, after another row has passed."""
        doubts, self._doubts = self._doubts, []
        for doubt in doubts:
            if self._partition(doubt.row) not in self._given_up:
                self._probe(doubt)
                self._try_again(doubt.row, doubt.passed)

    def _review(self, row: int) -> None:
        """Every 100 rejected rows, judge a partition by its rows in front of one, so that a flood is cut short.

        So many rejections in a suspect are taken for the flood that it was given up for.
        """
        rejected = len(self._rejected) + len(self._doubts)
        if rejected < self._review_at:
            return
        self._review_at = rejected + REJECTIONS_BEFORE_REVIEW
        self._settle()
        for partition, low, high in self._batch.spans(0, self._batch.rows):
            if low < row < high:
                flood = self._suspects.get(partition)
                self._judge(partition, low, row, flood or self._batch.parts[partition].assignment.sink_limits)

    def _judge(self, partition: Partition, start: int, stop: int, before: RejectionLimits) -> None:
        """Give a partition up if too many of its rows, from its first on, were rejected: they are not at fault then."""
        rejected = [row for row in self._rejected if start <= row < stop]
        if not rejected or partition in self._given_up:
            return
        limits = replace(before)
        excess = self._batch.parts[partition].count_rejected(limits, [row - start for row in rejected], stop - start)
        if excess is not None:
            self._floods[partition] = limits
            latest = f"the latest with: {self._rejected[rejected[-1]]}"
            cause = f"ClickHouse rejected {len(rejected):,} rows; {excess.cause(partition, latest)}"
            self._given_up[partition] = cause

    def _partition(self, row: int) -> Partition:
        return next(self._batch.spans(row, row + 1))[0]

    def _probe(self, doubt: Doubt) -> None:
        """Make sure that a step has passed since a row was rejected.

        The known-good row is inserted once more: by its keys it takes the place of itself.

        Raises:
            SinkUnavailable: it does not pass, or none is known.
        """
        if self._accepted.step_since(doubt.passed):
            return
        row = self._accepted.known_good_row()
        if row is None:
            cause = f"no row passes, and none has passed since the start: {doubt.refusal}"
            raise SinkUnavailable(cause, ErrorClass.UNKNOWN, doubt.refusal.code)
        self._probes += 1
        try:
            self._attempts.insert(row, f"{self._batch.token}/proof-{self._probes}")
        except SinkRefused as again:
            raise _environment(again) from None
        self._accepted.add(row)

    def _account(self, row: int, refusal: SinkRefused) -> None:
        """Make a dead letter of a rejected row, and give the ledger its account; nothing of it goes to `run_steps`.

        Raises:
            SinkUnavailable: not even that passes.
        """
        if self._partition(row) in self._given_up:
            return
        self._batch.reject(row, str(refusal))
        try:
            self._send(row, row + 1, f"{self._batch.token}/refused-{row}")
        except SinkRefused as again:
            raise _environment(again) from None
        except Unclassified as failure:
            self._give_up(row, row + 1, failure)

    def _give_up(self, start: int, stop: int, failure: Unclassified) -> None:
        """Find the partitions whose failure is unclassified, so that the others make progress."""
        spans = list(self._batch.spans(start, stop))
        if len(spans) == 1:
            self._given_up[spans[0][0]] = str(failure)
        else:
            self._insert_apart(spans)


def _environment(refusal: SinkRefused) -> SinkUnavailable:
    return SinkUnavailable(f"no row passes: {refusal}", ErrorClass.ENVIRONMENT, refusal.code)
