"""An insertion on a fake sink, with no writer in between: what it tries can be seen."""

from pipeline.contracts import Columns
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.insertion import Insertion, Unexplained
from pipeline.errors import ErrorClass, SinkRefused
from pipeline.records import Partition
from schemas.row import INDEX
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import step_row
from tests.support.fakes.sink import FakeSink

TOPIC = "run-steps"


class Rig:
    """An insertion into a fake sink; partitions in `cursed` fail for an unknown reason."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.cursed: set[int] = set()
        self.insertion = Insertion(self.persist)
        self.assignments: dict[int, Assignment] = {}
        self.tries: list[tuple[set[int], bool]] = []
        self.next = 0

    def persist(self, columns: Columns, token: str, *, suspected: bool = False) -> None:
        self.tries.append((set(columns[INDEX["kafka_partition"]]), suspected))
        if self.cursed.intersection(columns[INDEX["kafka_partition"]]):
            raise Unexplained("ClickHouse error 4711 (NOBODY_KNOWS)")
        self.sink.insert(columns, token)

    def persist_unless(self, broken: range, columns: Columns, token: str, *, suspected: bool = False) -> None:
        """Insert, but refuse the inserts of those numbers."""
        if len(self.sink.attempts) in broken:
            self.sink.attempts.append((token, len(columns[0])))
            raise SinkRefused("the table has no such column", ErrorClass.SCHEMA, 16)
        self.sink.insert(columns, token)

    def batch(self, rows: int, partitions: int = 1) -> Batch:
        batch = Batch()
        offsets = range(self.next, self.next + rows)
        for number in range(partitions):
            records = [FakeRecord(TOPIC, number, offset, 1_000, b"k", b"v") for offset in offsets]
            steps = [step_row(offset, kafka_partition=number, step_id=f"s{number}-{offset}") for offset in offsets]
            batch.part(self.assignments.setdefault(number, Assignment(Partition(TOPIC, number)))).extend(steps, records)
        batch.seal(1_790_000_000.0 + self.next)
        self.next += rows
        return batch

    def sizes(self) -> list[int]:
        sizes = [rows for _, rows in self.sink.attempts]
        self.sink.attempts.clear()
        return sizes
