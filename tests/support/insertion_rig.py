"""An insertion on a fake sink, with one attempt at everything: what it tries can be seen."""

import math
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry

from pipeline.contracts import Columns
from pipeline.daemon.attempts import Attempts, RetryPolicy, TooLarge, Unclassified
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.insertion import Insertion
from pipeline.errors import ErrorClass, SinkRefused
from pipeline.metrics import Metrics
from pipeline.records import Partition
from schemas.row import INDEX
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import normalized, step_row
from tests.support.fakes.sink import FakeSink

TOPIC = "run-steps"

T = TypeVar("T")


class Rig:
    """An insertion into a fake sink.

    Attributes:
        carried: a larger insert is cut off on its way.
        cursed: partitions that fail for an unknown reason.
        tries: the partitions of each insert, and whether it was a suspect's.
        ambiguous_attempts: of each insert, by its rows.
    """

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.carried = math.inf
        self.cursed: set[int] = set()
        self.insertion = Insertion(Once(self))
        self.assignments: dict[int, Assignment] = {}
        self.tries: list[tuple[set[int], bool]] = []
        self.ambiguous_attempts: list[tuple[int, float]] = []
        self.next = 0

    def batch(self, rows: int, partitions: int = 1) -> Batch:
        batch = Batch()
        offsets = range(self.next, self.next + rows)
        for number in range(partitions):
            records = [FakeRecord(TOPIC, number, offset, 1_000, b"k", b"v") for offset in offsets]
            steps = [step_row(offset, kafka_partition=number, step_id=f"s{number}-{offset}") for offset in offsets]
            batch.part(self.assignments.setdefault(number, Assignment(Partition(TOPIC, number)))).extend(
                normalized(steps, records)
            )
        batch.seal(1_790_000_000.0 + self.next)
        self.next += rows
        return batch

    def sizes(self) -> list[int]:
        sizes = [rows for _, rows in self.sink.attempts]
        self.sink.attempts.clear()
        return sizes


class Once(Attempts):
    """Attempts that are made once; partitions in the rig's `cursed` fail for an unknown reason."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.sink, Metrics(CollectorRegistry(), (1.0,)), FakeClock(), RetryPolicy())
        self._rig = rig

    def persist(self, attempt: Callable[[], T], *, suspected: bool = False) -> T:
        return attempt()

    def insert(
        self, columns: Columns, token: str, *, suspected: bool = False, ambiguous_attempts: float = math.inf
    ) -> None:
        self._rig.tries.append((set(columns[INDEX["kafka_partition"]]), suspected))
        if self._rig.cursed.intersection(columns[INDEX["kafka_partition"]]):
            raise Unclassified("ClickHouse error 4711 (NOBODY_KNOWS)")
        if len(columns[0]) > self._rig.carried:
            self._rig.sink.attempts.append((token, len(columns[0])))
            self._rig.ambiguous_attempts.append((len(columns[0]), ambiguous_attempts))
            raise TooLarge("the connection broke", ErrorClass.SHAPE)
        self._rig.sink.insert(columns, token)


class BrokenFor(Once):
    """A table that rejects the inserts of those numbers."""

    def __init__(self, rig: Rig, broken: range) -> None:
        super().__init__(rig)
        self._broken = broken

    def insert(
        self, columns: Columns, token: str, *, suspected: bool = False, ambiguous_attempts: float = math.inf
    ) -> None:
        attempts = self._rig.sink.attempts
        if len(attempts) in self._broken:
            attempts.append((token, len(columns[0])))
            raise SinkRefused("the table has no such column", ErrorClass.SCHEMA, 16)
        super().insert(columns, token, suspected=suspected)
