"""Attempts: makes one insert, or one sending of dead letters, survive an outage.

Owns how often and when something is tried again (back-off with jitter, without end), the probe that goes in front of an
attempt after failures in a row, the measures of inserts, and what is reported of the sink. Where an insert fails again
and again although probes pass, it tells that from an outage: the size is to blame. What to do about that and about
rejected rows is the insertion's. Runs on the writer's thread; any may read the attributes.
"""

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, TypeVar

import structlog

from pipeline.contracts import Clock, Columns, Sink, StepKey
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkError, SinkRefused, SinkUnavailable
from pipeline.metrics import Metrics
from pipeline.records import Partition

log = structlog.get_logger(__name__)

FAILURES_BEFORE_PROBE: Final = 3
"""Failures in a row after which a probe goes in front of each attempt; a single one is often over by the next."""

SUSPECT_ATTEMPTS: Final = 2
"""Unclassified failures that rows of a partition which was given up before may have: the others wait meanwhile."""

_DEAD_LETTER: Final = "dead_letter"

T = TypeVar("T")


class Unclassified(Exception):
    """An attempt failed for an unknown reason as often as is allowed; the message says how it failed last."""


class TooLarge(SinkRefused):
    """What happens to an insert stays unknown again and again although probes pass: fewer rows may get through."""


class Abandoned(Exception):
    """The writer was asked to stop during an outage; the batch stays uncommitted."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays between attempts, in seconds, without end: a batch is kept through an outage, never given up.

    Attributes:
        first_delay: the first delay.
        max_delay: no delay is longer.
        unknown_attempts: unclassified failures in a row after which the partition is halted.
        chance: source of the jitter, so that many workers do not come back in step.
    """

    first_delay: float = 0.2
    max_delay: float = 15.0
    unknown_attempts: int = 10
    chance: random.Random = field(default_factory=random.Random)

    def delays(self) -> Iterator[float]:
        """Yield half to all of a delay that doubles."""
        delay = self.first_delay
        while True:
            yield delay * self.chance.uniform(0.5, 1.0)
            delay = min(delay * 2, self.max_delay)


class Attempts:
    """Tries until it succeeds, is rejected, or the writer is asked to stop.

    After failures in a row a full batch is kept away from the sink: each attempt needs a probe first that passes.

    Attributes:
        failures_in_a_row: of attempts at the sink, up to the latest.
        trouble: what keeps the current batch from passing, or None.
        sink_trouble: why the sink takes no inserts, or None; as `runstep_sink_available` has it.
        last_errors: class of failure to its last message, for /status.
        last_heartbeat: monotonic seconds of the writer thread's last sign of life, for /healthz.
    """

    def __init__(self, sink: Sink, metrics: Metrics, clock: Clock, retry: RetryPolicy) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._retry = retry
        self._stop = threading.Event()
        self._trying = False
        self._cut = 0
        self.failures_in_a_row = 0
        self.trouble: str | None = "ClickHouse was not reached yet"
        self.sink_trouble: str | None = self.trouble
        self.last_errors: dict[str, str] = {}
        self.last_heartbeat = clock.monotonic()

    @property
    def breaker(self) -> Literal["closed", "open", "half_open"]:
        """Whether attempts are made as they come, behind a probe each, or one is being made behind a probe now."""
        if self.failures_in_a_row < FAILURES_BEFORE_PROBE:
            return "closed"
        return "half_open" if self._trying else "open"

    @property
    def stopped(self) -> bool:
        """Whether nothing is waited for any more. For any thread."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Give up waiting for the end of an outage. For any thread."""
        self._stop.set()

    def probe(self) -> None:
        """Look whether the sink takes inserts, while there is nothing to insert."""
        self.last_heartbeat = self._clock.monotonic()
        try:
            self._sink.probe()
        except SinkError as error:
            self._raise_trouble(error.error_class, str(error))
            self._show_sink(str(error))
        else:
            self.failures_in_a_row = 0
            self._show_sink(None)
            self._clear_trouble()

    def insert(
        self, columns: Columns, token: str, *, suspected: bool = False, ambiguous_attempts: float = math.inf
    ) -> None:
        """Insert rows, however long an outage lasts.

        Args:
            columns: the rows.
            token: the insert's.
            suspected: whether the rows are those of a partition that was given up before.
            ambiguous_attempts: failures of unknown outcome, each behind a probe that passed, that are borne.

        Raises:
            SinkRefused: the rows, as they are, do not pass; `TooLarge`, if there may be too many of them.
            Unclassified: it failed for unknown reasons as often as is allowed, a few times where rows are `suspected`.
        """
        attempt = partial(self._blaming_size, partial(self._measured_insert, columns, token), ambiguous_attempts)
        self.persist(partial(self._guarded, attempt), suspected=suspected)

    def split(self, rows: int, most_rows: float, refusal: SinkRefused) -> None:
        """Report that an insert of so many rows was too large, and how large the next ones are."""
        kind = ErrorClass.AMBIGUOUS if isinstance(refusal, TooLarge) else ErrorClass.SHAPE
        self._metrics.insert_split(kind)
        message = "an insert is too large; its rows, and those that follow, are sent in smaller inserts"
        log.warning("insert_split", message=message, rows=rows, most_rows=most_rows, cause=str(refusal))

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        """Read keys of counted steps from the ledger; see `contracts.Sink`.

        Raises:
            Unclassified: it failed for unknown reasons as often as is allowed.
        """
        return self.persist(partial(self._guarded, partial(self._sink.counted_steps, partition, below, limit)))

    def persist(self, attempt: Callable[[], T], *, suspected: bool = False) -> T:
        """Repeat an attempt until it succeeds; an outage has no limit, a rejection of rows is for the caller.

        Raises:
            SinkRefused: the rows are at fault.
            Unclassified: it failed for unknown reasons as often as is allowed.
            Abandoned: the writer was asked to stop meanwhile.
        """
        allowed, unclassified = self._retry.unknown_attempts, 0
        if suspected:
            allowed = min(allowed, SUSPECT_ATTEMPTS)
        for delay in self._retry.delays():
            self.last_heartbeat = self._clock.monotonic()
            try:
                result = attempt()
            except SinkUnavailable as error:
                unclassified = unclassified + 1 if error.error_class is ErrorClass.UNKNOWN else 0
                self._raise_trouble(error.error_class, str(error))
                self._show_sink(str(error))
                self._metrics.insert_retried(error.error_class)
                if unclassified >= allowed:
                    raise Unclassified(str(error)) from None
            except DeadLetterUnavailable as error:
                self._raise_trouble(_DEAD_LETTER, str(error))
            else:
                self._clear_trouble()
                return result
            if self._clock.wait(self._stop, delay):
                raise Abandoned
        raise AssertionError("delays never end")

    def _guarded(self, attempt: Callable[[], T]) -> T:
        """Make one attempt at the sink, behind a probe if it failed in a row; a rejection shows that the sink works."""
        try:
            if self.failures_in_a_row >= FAILURES_BEFORE_PROBE:
                self._trying = True
                self._sink.probe()
            result = attempt()
        except (SinkUnavailable, TooLarge):
            self.failures_in_a_row += 1
            raise
        except SinkRefused:
            self.failures_in_a_row = 0
            raise
        finally:
            self._trying = False
        self.failures_in_a_row = 0
        return result

    def _blaming_size(self, attempt: Callable[[], None], ambiguous_attempts: float) -> None:
        """Make one attempt at an insert.

        Raises:
            TooLarge: its outcome is unknown once more, and a probe passed before each time: the server is well.
        """
        try:
            attempt()
        except SinkUnavailable as error:
            if error.error_class is not ErrorClass.AMBIGUOUS:
                raise
            # A server that is killed by the rows is away in between, so only a success starts the count anew.
            self._cut += self._trying
            if self._cut < ambiguous_attempts:
                raise
            raise TooLarge(f"{error}, although small queries pass", ErrorClass.SHAPE, error.code) from None
        self._cut = 0

    def _measured_insert(self, columns: Columns, token: str) -> None:
        began = self._clock.monotonic()
        outcome, rows = "failed", len(columns[0])
        try:
            self._sink.insert(columns, token)
            outcome = "ok"
            self._show_sink(None)
        finally:
            seconds = self._clock.monotonic() - began
            self._metrics.insert_finished(outcome, seconds, rows)
            log.debug("insert_finished", outcome=outcome, rows=rows, seconds=round(seconds, 4))

    def _show_sink(self, trouble: str | None) -> None:
        """Say whether the sink takes inserts, to /status and to the metrics alike."""
        self.sink_trouble = trouble
        self._metrics.sink_available(up=trouble is None)

    def _raise_trouble(self, error_class: str, cause: str) -> None:
        changed, self.trouble, self.last_errors[str(error_class)] = self.trouble != cause, cause, cause
        if not changed:
            return
        if error_class == _DEAD_LETTER:
            message = "Kafka acknowledges no dead letters; the batch is kept, and they are sent again"
            log.warning("dead_letters_retrying", message=message, error_class=str(error_class), cause=cause)
        else:
            message = "ClickHouse takes no inserts; the batch is kept and retried"
            log.warning("insert_retrying", message=message, error_class=str(error_class), cause=cause)

    def _clear_trouble(self) -> None:
        if self.trouble is not None:
            log.info("insert_recovered", message="batches are delivered again", after=self.trouble)
        self.trouble = None
