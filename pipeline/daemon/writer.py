"""The writer: makes a batch durable beside the owner, so that the owner never waits without polling.

Owns steps 1 and 2 of a batch's way (insert, dead letters) and what is done about an outage: wait, with back-off, behind
a breaker. It holds one batch at a time, lent by the owner; it never touches Kafka offsets or step metrics, and gives
the batch back when every row and every dead letter is acknowledged, but for the partitions it had to give up. Dead
dead letters are sent here, not by the owner, because a producer's `send` blocks while a topic's metadata is missing, and a
member that does not poll stops its whole group.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from pipeline.contracts import Clock, Columns, DeadLetterQueue, Sink
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.breaker import Breaker
from pipeline.daemon.insertion import Insertion, Unexplained
from pipeline.daemon.retry import RetryPolicy
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkError, SinkUnavailable
from pipeline.metrics import Metrics
from pipeline.metrics.counts import CountedSteps

log = structlog.get_logger(__name__)

PROBE_INTERVAL: Final = 5.0
"""Seconds between looks at an idle sink, so that readiness is true also when nothing is written."""

PROBE_INTERVAL_IN_TROUBLE: Final = 0.5

SUSPECT_ATTEMPTS: Final = 2
"""Failures of unknown meaning that a partition may have which was given up before: the others wait meanwhile."""

LETTERS_AT_ONCE: Final = 500
"""So few that their time-out means a fault, not their number; what a slice has delivered is not sent again."""

T = TypeVar("T")


class _Abandoned(Exception):
    """The writer was told to stop while it waited for an outage to end; the batch stays uncommitted."""


class Writer:
    """Delivers one batch at a time on a thread of its own. Methods are for the owner, attributes for any reader.

    Attributes:
        busy: whether a batch is out; the owner's, set by `lend` and `take_back`.
        trouble: what keeps the current batch from passing, or None.
        sink_trouble: why the sink takes no inserts, or None; as `runstep_sink_available` has it.
        last_errors: class of failure to its last message, for /status.
        failure: a bug that ended the thread; the owner raises it.
        breaker: whether the sink gets full batches.
        insertion: how large they are.
        stirred_at: monotonic seconds of the thread's last sign of life, for /healthz.
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
        self._submitted: Batch | None = None
        self._done: Batch | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.serve, name="runstep-writer", daemon=True)
        self.breaker = Breaker(sink.probe)
        self.insertion = Insertion(self._insert)
        self.busy = False
        self.trouble: str | None = "ClickHouse was not reached yet"
        self.sink_trouble: str | None = self.trouble
        self.last_errors: dict[str, str] = {}
        self.failure: BaseException | None = None
        self.last_heartbeat = clock.monotonic()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand over a sealed batch; only while not busy."""
        self.busy = True
        self._submitted = batch
        self._wake.set()

    def collect(self) -> Batch | None:
        """Return the batch once all of it is durable, else None.

        Raises:
            BaseException: the bug that ended the thread.
        """
        if self.failure is not None:
            raise self.failure
        batch, self._done = self._done, None
        if batch is not None:
            self.busy = False
        return batch

    def close(self, timeout: float) -> None:
        """Give up waiting for outages and end the thread; a batch in hand stays uncommitted."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout)

    def serve(self) -> None:
        """Deliver what is lent until closed; the thread's whole life."""
        try:
            self._probe()
            while not self._stop.is_set():
                self._clock.wait(self._wake, PROBE_INTERVAL if self.trouble is None else PROBE_INTERVAL_IN_TROUBLE)
                self._wake.clear()
                batch, self._submitted = self._submitted, None
                if batch is None:
                    self._probe()
                    continue
                self._deliver(batch)
                self._done = batch
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 (whatever it is, the owner raises it and the process stops)
            self.failure = error
        finally:
            self._sink.close()
            self._dead_letters.close()

    def _probe(self) -> None:
        self.last_heartbeat = self._clock.monotonic()
        try:
            self._sink.probe()
        except SinkError as error:
            self._report(error.error_class, str(error))
            self._show_sink(str(error))
        else:
            self.breaker.close()
            self._show_sink(None)
            self._recover()

    def _deliver(self, batch: Batch) -> None:
        """Make a batch durable: what is counted already, 1 its rows, 2 its dead letters."""
        try:
            for part in batch.parts.values():
                self._know_counted(part.assignment, part.first_offset)
            self._persist(partial(self.insertion.run, batch))
        except Unexplained as failure:
            for partition in list(batch.parts):
                batch.give_up(partition, str(failure))
        batch.acknowledged_at = self._clock.now()
        dead_letters = batch.dead_letters()
        for start in range(0, len(dead_letters), LETTERS_AT_ONCE):
            self._persist(partial(self._dead_letters.send, dead_letters[start : start + LETTERS_AT_ONCE]))

    def _know_counted(self, assignment: Assignment, below: int) -> None:
        """Read from the ledger which steps earlier owners of the partition have counted."""
        if assignment.counted is None:
            limit = self._counted_limit
            known = self._persist(
                partial(self.breaker.call, partial(self._sink.counted_steps, assignment.partition, below, limit))
            )
            assignment.counted = CountedSteps(limit, reversed(known))

    def _persist(self, attempt: Callable[[], T], *, suspected: bool = False) -> T:
        """Repeat an attempt until it succeeds; an outage has no limit, a refusal is for the caller.

        Raises:
            SinkRefused: the rows are at fault.
            Unexplained: it failed for unknown reasons as often as is allowed.
        """
        most, unknown = self._retry.unknown_attempts, 0
        if suspected:
            most = min(most, SUSPECT_ATTEMPTS)
        for delay in self._retry.delays():
            self.last_heartbeat = self._clock.monotonic()
            try:
                result = attempt()
            except SinkUnavailable as error:
                unknown = unknown + 1 if error.error_class is ErrorClass.UNKNOWN else 0
                self._report(error.error_class, str(error))
                self._show_sink(str(error))
                self._metrics.insert_retried(error.error_class)
                if unknown >= most:
                    raise Unexplained(str(error)) from None
            except DeadLetterUnavailable as error:
                self._report("dead_letter", str(error))
            else:
                self._recover()
                return result
            if self._clock.wait(self._stop, delay):
                raise _Abandoned
        raise AssertionError("delays never end")

    def _insert(self, columns: Columns, token: str, *, suspected: bool = False) -> None:
        """Insert rows; waits for the end of an outage. See `insertion.Persist`."""
        attempt = partial(self._attempt, columns, token)
        self._persist(partial(self.breaker.call, attempt), suspected=suspected)

    def _attempt(self, columns: Columns, token: str) -> None:
        """Insert rows, with the measure taken."""
        began = self._clock.monotonic()
        outcome, rows = "failed", len(columns[0])
        try:
            self._sink.insert(columns, token)
            outcome = "ok"
            self._show_sink(None)
        finally:
            seconds = self._clock.monotonic() - began
            self._metrics.insert_finished(outcome, seconds, rows)
            log.debug("insert", outcome=outcome, rows=rows, seconds=round(seconds, 4))

    def _show_sink(self, trouble: str | None) -> None:
        """Say whether the sink takes inserts, to /status and to the metrics alike."""
        self.sink_trouble = trouble
        self._metrics.sink_available(up=trouble is None)

    def _report(self, error_class: str, cause: str) -> None:
        if self.trouble != cause:
            log.warning("delivery waits", error_class=str(error_class), cause=cause)
        self.trouble = cause
        self.last_errors[str(error_class)] = cause

    def _recover(self) -> None:
        if self.trouble is not None:
            log.info("delivery goes on", after=self.trouble)
        self.trouble = None
