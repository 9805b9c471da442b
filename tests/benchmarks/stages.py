"""The profile of the hot path: CPU microseconds per event of each stage, measured one at a time in this process."""

import gc
import time
from collections.abc import Callable
from itertools import islice

from kafka import TopicPartition
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from rich.table import Table

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.daemon.batch import Assignment, Batch
from pipeline.kafka.record_batches import PartitionRecords
from pipeline.metrics.counts import CountedSteps, tally
from pipeline.normalize.decode import decode
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.normalize import Normalized, Rules, normalize
from pipeline.normalize.step_row import step_row
from pipeline.records import Partition
from pipeline.tools.simulation import Traffic, events
from tests.support.fakes.kafka import FakeRecord

COUNT = 50_000
REPEATS = 3
SLICE = 500
POLL = 20_000


def cost(stage: Callable[[], object]) -> float:
    """Return the best of several runs, in CPU microseconds per event."""
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        began = time.process_time()
        stage()
        best = min(best, time.process_time() - began)
    return best / COUNT * 1e6


def profile(traffic: Traffic, clickhouse_url: str) -> Table:
    """Return the table of stages."""
    made = list(islice(events(traffic, COUNT, time.time() - 3600), COUNT))
    records = [
        FakeRecord("bench", 0, offset, int(event.at * 1000), event.key, event.value)
        for offset, event in enumerate(made)
    ]
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 30)
    for record in records:
        builder.append(timestamp=record.timestamp, key=record.key, value=record.value)
    builder.close()
    wire = bytes(builder.buffer())
    rules = Rules()
    decoded = [event for record in records if isinstance(event := decode(record.value, 1 << 25), RunStepEvent)]
    rows = [step_row(event, record, 0, rules) for event, record in zip(decoded, records, strict=True)]
    batch = filled(rows, records)
    batch.seal(time.time())
    (part,) = batch.parts.values()
    sink = ClickHouseSink(lambda: ClickHouseSettings(url=clickhouse_url))
    number = iter(range(100))
    stages = {
        "Kafka records from bytes": lambda: unpack(wire),
        "decode and validate": lambda: [None for record in records if decode(record.value, 1 << 25) is None],
        "normalize into rows": lambda: [
            None for event, record in zip(decoded, records, strict=True) if not step_row(event, record, 0, rules)
        ],
        "rows into columns": lambda: filled(rows, records),
        "the three together, as the daemon does": lambda: read(records, rules),
        "insert (encode, compress, send)": lambda: sink.insert(part.columns, f"stage-{next(number)}-{time.time()}"),
        "count": lambda: tally(part.columns, CountedSteps(100_000), time.time(), 86_400_000),
    }
    table = Table("stage", "CPU µs/event", title="profile of the hot path")
    for name, stage in stages.items():
        table.add_row(name, f"{cost(stage):.2f}")
    sink.close()
    return table


def unpack(wire: bytes) -> None:
    """Read records as the consumer does, in the portions of its polls."""
    chunk = PartitionRecords(0, TopicPartition("bench", 0), MemoryRecords(wire))
    while chunk:
        chunk.take(POLL)


def read(records: list[FakeRecord], rules: Rules) -> None:
    """Do what the daemon's loop does with what a poll returns."""
    part = Batch().part(Assignment(Partition("bench", 0)))
    for start in range(0, len(records), SLICE):
        part.extend(normalize(records[start : start + SLICE], rules))


def filled(rows: list[tuple], records: list[FakeRecord]) -> Batch:
    """Return a batch of these rows."""
    batch = Batch()
    part = batch.part(Assignment(Partition("bench", 0)))
    for start in range(0, len(rows), SLICE):
        columns = tuple(zip(*rows[start : start + SLICE], strict=True))
        part.extend(Normalized(columns, records[start : start + SLICE]))
    return batch
