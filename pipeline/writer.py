"""The writer: the thread that makes a batch durable, so that the owner never waits without polling.

Owns steps 1 and 2 of a batch's way (insert, dead letters) and what is done about each class of failure. It holds one
batch at a time, lent by the owner; it never touches Kafka offsets or step metrics, and gives the batch back when every
row and every dead letter is acknowledged, or not at all. Dead letters are sent here, not by the owner, because a
producer's `send` blocks while a topic's metadata is missing, and a member that does not poll stops its whole group.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from pipeline.batch import Batch, Lease
from pipeline.contracts import Clock, DeadLetterQueue, Sink
from pipeline.counts import CountedSteps
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkError, SinkRefused, SinkUnavailable
from pipeline.metrics import Metrics
from pipeline.retry import RetryPolicy

log = structlog.get_logger(__name__)

PROBE_INTERVAL: Final = 5.0
"""Seconds between looks at an idle sink, so that readiness is true also when nothing is written."""

PROBE_INTERVAL_IN_TROUBLE: Final = 0.5

HOPELESS_REFUSALS: Final = 20
"""So many rows refused in a row, across batches: it is the table that is wrong, not the rows."""

LETTERS_AT_ONCE: Final = 500
"""So few that their time-out means a fault, not their number; what a slice has delivered is not sent again."""

T = TypeVar("T")


class _Abandoned(Exception):
    """The writer was told to stop while it waited for an outage to end; the batch stays uncommitted."""


class Writer:
    """Delivers one batch at a time on a thread of its own. Methods are for the owner, attributes for any reader.

    Attributes:
        trouble: what keeps the current batch from passing, or None.
        last_errors: class of failure to its last message, for /status.
        failure: a bug that ended the thread; the owner raises it.
        refused_in_a_row: rows that the sink refused since it last took one.
    """

    def __init__(
        self,
        sink: Sink,
        dead_letters: DeadLetterQueue,
        metrics: Metrics,
        clock: Clock,
        retry: RetryPolicy,
        counted_limit: int,
    ) -> None:
        self._sink = sink
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._clock = clock
        self._retry = retry
        self._counted_limit = counted_limit
        self._lent: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="runstep-writer", daemon=True)
        self.busy = False
        self.trouble: str | None = "ClickHouse was not reached yet"
        self.last_errors: dict[str, str] = {}
        self.failure: BaseException | None = None
        self.refused_in_a_row = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def lend(self, batch: Batch) -> None:
        """Hand over a sealed batch; only while not busy."""
        self.busy = True
        self._lent.put(batch)

    def take_back(self) -> Batch | None:
        """Return the batch once all of it is durable, else None.

        Raises:
            BaseException: the bug that ended the thread.
        """
        if self.failure is not None:
            raise self.failure
        try:
            batch = self._done.get_nowait()
        except queue.Empty:
            return None
        self.busy = False
        return batch

    def close(self, timeout: float) -> None:
        """Give up waiting for outages and end the thread; a batch in hand stays uncommitted."""
        self._stop.set()
        self._lent.put(None)
        self._thread.join(timeout)

    def _serve(self) -> None:
        try:
            self._probe()
            while True:
                try:
                    batch = self._lent.get(
                        timeout=PROBE_INTERVAL if self.trouble is None else PROBE_INTERVAL_IN_TROUBLE
                    )
                except queue.Empty:
                    self._probe()
                    continue
                if batch is None:
                    return
                self._deliver(batch)
                self._done.put(batch)
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 (whatever it is, the owner raises it and the process stops)
            self.failure = error
        finally:
            self._sink.close()
            self._dead_letters.close()

    def _probe(self) -> None:
        try:
            self._sink.probe()
        except SinkError as error:
            self._report(error.error_class, str(error))
            self._metrics.sink_available(up=False)
        else:
            self._metrics.sink_available(up=True)
            self._recover()

    def _deliver(self, batch: Batch) -> None:
        """Make a batch durable: what is counted already, 1 its rows, 2 its dead letters."""
        for part in batch.parts.values():
            self._know_counted(part.lease, part.first_offset)
        _Insertion(self, batch).run()
        batch.acknowledged_at = self._clock.now()
        letters = batch.letters()
        for start in range(0, len(letters), LETTERS_AT_ONCE):
            self.persist(partial(self._dead_letters.send, letters[start : start + LETTERS_AT_ONCE]))

    def _know_counted(self, lease: Lease, below: int) -> None:
        """Read from the ledger which steps earlier owners of the partition have counted."""
        if lease.counted is None:
            limit = self._counted_limit
            known = self.persist(lambda: self._sink.counted_steps(lease.partition, below, limit))
            lease.counted = CountedSteps(limit, reversed(known))

    def persist(self, attempt: Callable[[], T]) -> T:
        """Repeat an attempt until it succeeds; an outage has no limit, a refusal is for the caller.

        Raises:
            SinkRefused: the rows are at fault.
        """
        for delay in self._retry.delays():
            try:
                result = attempt()
            except SinkUnavailable as error:
                self._report(error.error_class, str(error))
                self._metrics.sink_available(up=False)
                self._metrics.insert_retried(error.error_class)
            except DeadLetterUnavailable as error:
                self._report("dead_letter", str(error))
            else:
                self._recover()
                return result
            if self._clock.wait(self._stop, delay):
                raise _Abandoned
        raise AssertionError("delays never end")

    def insert(self, batch: Batch, start: int, stop: int, token: str) -> None:
        """Insert rows `start` to `stop` of a batch, with the measure taken."""
        began = self._clock.monotonic()
        outcome = "failed"
        try:
            self._sink.insert(batch.columns(start, stop), token)
            outcome = "ok"
            self._metrics.sink_available(up=True)
        finally:
            seconds = self._clock.monotonic() - began
            self._metrics.insert_finished(outcome, seconds, stop - start)
            log.debug("insert", outcome=outcome, rows=stop - start, seconds=round(seconds, 4))

    def _report(self, error_class: str, cause: str) -> None:
        if self.trouble != cause:
            log.warning("delivery waits", error_class=str(error_class), cause=cause)
        self.trouble = cause
        self.last_errors[str(error_class)] = cause

    def _recover(self) -> None:
        if self.trouble is not None:
            log.info("delivery goes on", after=self.trouble)
        self.trouble = None


class _Insertion:
    """One batch's way into the sink: whole if it passes, in halves if it must be, down to the guilty row."""

    def __init__(self, writer: Writer, batch: Batch) -> None:
        self._writer = writer
        self._batch = batch
        self._refused: list[tuple[int, SinkRefused]] = []

    def run(self) -> None:
        """Insert every row; those that the sink refuses on their own are turned into dead letters."""
        self._writer.persist(self._attempt)

    def _attempt(self) -> None:
        self._refused = []
        self._insert(0, self._batch.rows, self._batch.token)
        for row, refusal in self._refused:
            self._batch.refuse(row, str(refusal))
            self._account(row)

    def _insert(self, start: int, stop: int, token: str) -> None:
        """Insert a slice; a refused one is halved, under tokens of its own since it holds other bytes."""
        try:
            self._writer.persist(lambda: self._writer.insert(self._batch, start, stop, token))
            self._writer.refused_in_a_row = 0
        except SinkRefused as refusal:
            if stop - start == 1:
                self._blame(start, refusal)
                return
            middle = (start + stop) // 2
            for low, high in ((start, middle), (middle, stop)):
                self._insert(low, high, f"{self._batch.token}/{low}-{high}")

    def _blame(self, row: int, refusal: SinkRefused) -> None:
        """Note a guilty row, unless it is not the row's fault.

        Raises:
            SinkUnavailable: not even a single row fits, or no row has passed for long.
        """
        self._writer.refused_in_a_row += 1
        if refusal.error_class is ErrorClass.SHAPE or self._writer.refused_in_a_row > HOPELESS_REFUSALS:
            raise SinkUnavailable(f"no row passes: {refusal}", ErrorClass.ENVIRONMENT, refusal.code)
        self._refused.append((row, refusal))

    def _account(self, row: int) -> None:
        """Give the ledger the row of a refused step; nothing of it goes to `run_steps`."""
        token = f"{self._batch.token}/refused-{row}"
        try:
            self._writer.persist(lambda: self._writer.insert(self._batch, row, row + 1, token))
        except SinkRefused as refusal:
            raise SinkUnavailable(f"the ledger takes no row: {refusal}", ErrorClass.ENVIRONMENT, refusal.code) from None
