"""The writer: makes a batch durable beside the owner, so that the owner never waits without polling.

Owns the thread, and the order of steps 1 and 2 of a batch's way: insert, then dead letters. It holds one batch at a
time, submitted by the owner; it never touches Kafka offsets or step metrics, and hands the batch back when every row
and every dead letter is acknowledged, but for the partitions that had to be given up. An outage goes one line down:
writer, insertion, attempts, sink. Dead letters are sent here, not by the owner, because a producer's `send` blocks
while a topic's metadata is missing, and a member that does not poll stops its whole group.
"""

import threading
from functools import partial
from typing import Final

from pipeline.contracts import Clock, DeadLetterQueue, Sink
from pipeline.daemon.attempts import Abandoned, Attempts, RetryPolicy, Unclassified
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.insertion import Insertion
from pipeline.metrics import Metrics
from pipeline.metrics.counts import CountedSteps

PROBE_INTERVAL_S: Final = 5.0
"""Between probes of an idle sink, so that readiness is true also when nothing is written."""

PROBE_INTERVAL_IN_TROUBLE_S: Final = 0.5

MAX_DEAD_LETTERS_PER_SEND: Final = 500
"""So few that their time-out means a fault, not their number; a slice that is acknowledged is not sent again."""


class Writer:
    """Delivers one batch at a time on a thread of its own. Methods are for the owner, attributes for any reader.

    Attributes:
        busy: whether a batch is out; the owner's, set by `submit` and `collect`.
        failure: a bug that ended the thread; the owner raises it.
        attempts: how the sink and the dead-letter topic fare.
        insertion: how large inserts are.
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
        self._clock = clock
        self._counted_limit = counted_limit
        self._submitted: Batch | None = None
        self._done: Batch | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self.serve, name="runstep-writer", daemon=True)
        self.attempts = Attempts(sink, metrics, clock, retry)
        self.insertion = Insertion(self.attempts)
        self.busy = False
        self.failure: BaseException | None = None

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

    def stop(self) -> None:
        """Ask the thread to end, also during an outage; a batch in hand stays uncommitted."""
        self.attempts.stop()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Stop, and wait at most `timeout` seconds for the thread's end."""
        self.stop()
        self._thread.join(timeout)

    def serve(self) -> None:
        """Deliver what is submitted until stopped; the thread's whole life."""
        try:
            self.attempts.probe()
            while not self.attempts.stopped:
                self._clock.wait(self._wake, self._probe_interval())
                self._wake.clear()
                batch, self._submitted = self._submitted, None
                if batch is None:
                    self.attempts.probe()
                    continue
                self._deliver(batch)
                self._done = batch
        except Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 (whatever it is, the owner raises it and the process stops)
            self.failure = error
        finally:
            self._sink.close()
            self._dead_letters.close()

    def _probe_interval(self) -> float:
        return PROBE_INTERVAL_S if self.attempts.trouble is None else PROBE_INTERVAL_IN_TROUBLE_S

    def _deliver(self, batch: Batch) -> None:
        """Make a batch durable: what is counted already, 1 its rows, 2 its dead letters."""
        try:
            for part in batch.parts.values():
                self._know_counted(part.assignment, part.first_offset)
            self.insertion.run(batch)
        except Unclassified as failure:
            for partition in list(batch.parts):
                batch.give_up(partition, str(failure))
        batch.acknowledged_at = self._clock.now()
        dead_letters = batch.dead_letters()
        for start in range(0, len(dead_letters), MAX_DEAD_LETTERS_PER_SEND):
            slice_ = dead_letters[start : start + MAX_DEAD_LETTERS_PER_SEND]
            self.attempts.persist(partial(self._dead_letters.send, slice_))

    def _know_counted(self, assignment: Assignment, below: int) -> None:
        """Read from the ledger which steps earlier owners of the partition have counted."""
        if assignment.counted is None:
            limit = self._counted_limit
            known = self.attempts.counted_steps(assignment.partition, below, limit)
            assignment.counted = CountedSteps(limit, reversed(known))
