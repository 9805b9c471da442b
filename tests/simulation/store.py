"""A fake ClickHouse and a fake dead-letter topic for several processes: `contracts.Sink`, `contracts.DeadLetterQueue`.

Owns what an insert is: a request that the server carries out view by view, whether or not the client still waits for
the answer, which may be a false one. The targets themselves (keys, versions, deduplication windows) are those of
`tests.support.fakes.sink`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.clickhouse.insert_proof import Answer
from pipeline.clickhouse.insert_tokens import InsertTokens
from pipeline.contracts import Columns, StepKey
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import InvalidRecord, Partition
from schemas.row import INDEX
from tests.simulation.network import LATENCY, Network
from tests.simulation.scheduler import Scheduler
from tests.support.fakes.sink import FakeSink, Fields, Target

_CLASSES: Final = {
    "transient": ErrorClass.TRANSIENT,
    "environment": ErrorClass.ENVIRONMENT,
    "unknown": ErrorClass.UNKNOWN,
    "before": ErrorClass.AMBIGUOUS,
    "between": ErrorClass.AMBIGUOUS,
    "after": ErrorClass.AMBIGUOUS,
    "late": ErrorClass.AMBIGUOUS,
    "between_unknown": ErrorClass.UNKNOWN,
}
_LIES: Final = {
    "ok_of_a_proxy": Answer({}),
    "ok_with_an_exception": Answer({"written_rows": "1000"}, b"Code: 241. DB::Exception: Memory limit exceeded"),
    "ok_of_nothing": Answer({"written_rows": "0"}),
}
"""Answers to inserts that were not carried out."""
_PARTITION: Final = INDEX["kafka_partition"]
INSERT_FAULTS: Final = (*_CLASSES, *_LIES)


@dataclass
class Job:
    """An insert that the server is carrying out: the views that are still to be fed, and what the others wrote."""

    views: deque[Callable[[], int]]
    written: int

    def advance(self) -> None:
        """Feed the next view."""
        if self.views:
            self.written += self.views.popleft()()


class Server(FakeSink):
    """ClickHouse.

    Attributes:
        ledger_first: the views are fed in the other order.
        refuses_all: no row passes, as after a change of the table.
        puzzle: a partition whose rows make inserts fail with an error of no known class.
        carried: rows of the largest insert that the way to the server carries.
        up_since: when it began to live.
    """

    def __init__(self, window: int = 1_000) -> None:
        super().__init__(window)
        self.ledger_first = False
        self.refuses_all = False
        self.puzzle: int | None = None
        self.carried = 1_000_000
        self.up_since = 0.0
        self._is_dying = False

    def die_in(self, job: "Job") -> None:
        """End in the middle of an insert, where the harm is greatest: the next table has its token and not its rows."""
        self._is_dying = True
        job.advance()
        self._is_dying = False

    def _copy(self, view: str, target: Target, rows: Sequence[Fields], token: str) -> int:
        if self._is_dying and token not in target.tokens:
            target.tokens.append(token)
        return 0 if self._is_dying else super()._copy(view, target, rows, token)

    def begin(self, columns: Columns, token: str) -> Job:
        """Check the rows and return the insert.

        Raises:
            SinkRefused: the rows, as they are, do not pass.
            SinkUnavailable: its failure has no known class.
        """
        if self.puzzle is not None and self.puzzle in columns[_PARTITION]:
            raise SinkUnavailable("injected: puzzle", ErrorClass.UNKNOWN)
        if self.refuses_all:
            raise SinkRefused("ClickHouse error 16 (NO_SUCH_COLUMN_IN_TABLE): any row", ErrorClass.SCHEMA, 16)
        views = self.views(columns, token)
        return Job(deque(reversed(views) if self.ledger_first else views), len(columns[0]))

    def holds(self, partition: Partition, offset: int, timestamp: int, index: int) -> str | None:
        """Return the outcome that the ledger shows for a row, None if it has none."""
        row = self._ledger.visible.get((*partition, offset, timestamp, index))
        return None if row is None else str(row["outcome"])

    def visible_steps(self) -> list[Fields]:
        """Return what `run_steps_current` shows, row by row."""
        return list(self._steps.visible.values())

    def current_of(self, step: StepKey) -> Fields | None:
        """Return what `run_steps_current` shows of a step."""
        return next((row for key, row in self._steps.visible.items() if key[1:] == step), None)


class SimulatedSink:
    """One process's client. `contracts.Sink`."""

    def __init__(self, server: Server, scheduler: Scheduler, network: Network) -> None:
        self._server = server
        self._scheduler = scheduler
        self._network = network
        self._tokens = InsertTokens()
        self.job: Job | None = None

    def insert(self, columns: Columns, token: str) -> None:
        """Have all rows inserted, and believe the OK as the real sink does."""
        if not columns[0]:
            return
        self._attempt(columns, token)
        while self._tokens.renewed(token, lambda began: self._server.up_since <= began):
            self._scheduler.note("insert repeated", token[-12:])
            self._attempt(columns, token)

    def _attempt(self, columns: Columns, token: str) -> None:
        began = self._scheduler.now
        try:
            self._send(columns, self._tokens.name(token))
        except SinkUnavailable as error:
            self._tokens.failed(token, began, error.error_class)
            raise

    def _send(self, columns: Columns, token: str) -> None:
        """Make one request; every fault that it can meet is met here."""
        self._scheduler.point(LATENCY)
        fault = self._network.fault("insert")
        self._scheduler.note("insert", (len(columns[0]), token[-12:], fault))
        self._server.raise_if_down()
        self._raise_on_the_way(fault, len(columns[0]))
        if fault in _LIES:
            self._require_proof(_LIES[fault], columns)
            return
        self.job = job = self._server.begin(columns, token)
        if fault == "late":
            self._network.leave_behind(job.advance)
            raise _failure(fault)
        while job.views:
            self._scheduler.point(LATENCY)
            self._require_up(job)
            job.advance()
            if fault.startswith("between"):
                raise _failure(fault)
        self._scheduler.point(LATENCY)
        self._require_up(job)
        self.job = None
        if fault:
            raise _failure(fault)
        self._require_proof(Answer({"written_rows": str(job.written)}), columns)

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        """Return keys of steps that ended below that offset, the latest first."""
        self._ask("query")
        return self._server.counted_steps(partition, below, limit)

    def probe(self) -> None:
        """Make sure that an insert could succeed now."""
        self._ask("probe")
        self._server.raise_if_lacking()

    def close(self) -> None:
        """Nothing to release."""

    def _raise_on_the_way(self, fault: str, rows: int) -> None:
        if fault in ("before", "transient", "environment", "unknown"):
            raise _failure(fault)
        if rows > self._server.carried:
            raise SinkUnavailable("the connection was reset on the way", ErrorClass.AMBIGUOUS)

    def _require_proof(self, answer: Answer, columns: Columns) -> None:
        """Believe an OK as the real sink does."""
        doubt = answer.doubt(len(columns[0]))
        if doubt is not None:
            raise SinkUnavailable(doubt, ErrorClass.AMBIGUOUS)
        if not answer.counts_copies(columns):
            self._server.raise_if_lacking()
            raise SinkUnavailable("a view was missing for a moment", ErrorClass.AMBIGUOUS)

    def _ask(self, request: str) -> None:
        self._scheduler.point(LATENCY)
        self._server.raise_if_down()
        if self._network.fault(request):
            raise SinkUnavailable(f"injected: {request}", ErrorClass.TRANSIENT, 202)

    def _require_up(self, job: Job) -> None:
        if self._server.down is not None:
            self._server.die_in(job)
            raise SinkUnavailable("the server went away in the middle", ErrorClass.AMBIGUOUS)


def _failure(fault: str) -> SinkUnavailable:
    return SinkUnavailable(f"injected: {fault}", _CLASSES[fault])


class DeadLetter(NamedTuple):
    """A record of the dead-letter topic."""

    partition: Partition
    offset: int
    timestamp: int
    reason: str
    value: bytes | None


class SimulatedDeadLetters:
    """One process's producer. `contracts.DeadLetterQueue`."""

    def __init__(self, topic: list[DeadLetter], scheduler: Scheduler, network: Network) -> None:
        self._topic = topic
        self._scheduler = scheduler
        self._network = network

    def send(self, dead_letters: Sequence[InvalidRecord]) -> None:
        """Send all; some or all may arrive though it fails."""
        self._scheduler.point(LATENCY)
        fault = self._network.fault("letters")
        self._scheduler.note("letters", ([dead_letter.record.offset for dead_letter in dead_letters], fault))
        if fault == "before":
            raise DeadLetterUnavailable("injected: before")
        for number, dead_letter in enumerate(dead_letters):
            if fault == "partly" and number * 2 >= len(dead_letters):
                raise DeadLetterUnavailable("injected: partly")
            record = dead_letter.record
            origin = Partition(record.topic, record.partition)
            self._topic.append(
                DeadLetter(origin, record.offset, record.timestamp, str(dead_letter.reason), record.value)
            )
        self._scheduler.point(LATENCY)
        if fault:
            raise DeadLetterUnavailable(f"injected: {fault}")

    def close(self) -> None:
        """Nothing to release."""
