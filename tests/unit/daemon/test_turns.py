"""A poll with much work: it is worked off over several turns, in order, and the group is polled in between."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from pipeline.config import BatchSettings
from pipeline.contracts import Columns, Unreadable
from pipeline.daemon import processor
from pipeline.normalize.normalize import Normalized, normalize
from pipeline.records import Partition, Record
from tests.support.events import completed, wire
from tests.support.fakes.kafka import FakeBroker, FakeSource
from tests.support.fakes.sink import FakeSink
from tests.support.processor_rig import Rig, rig_factory

SLICE = 10
FIRST_POLL = 100
MAX_AGE = 100_000.0
ZERO = Partition("run-steps", 0)


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    with rig_factory() as make:
        yield make


class SlowRig:
    """A processor that needs so much of its clock for each slice that a turn makes rows of two.

    Its batch is handed over only when it has grown old, by `finish`.
    """

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self.polls: list[tuple[float, int]] = []
        poll = rig.source.poll

        def slow(records: Sequence[Record], *arguments: Any) -> Normalized:
            rig.clock.advance(0.6 * processor.TURN_S)
            return normalize(records, *arguments)

        def seen(timeout: float, most: int) -> Mapping[Partition, Sequence[Record]]:
            polled = poll(timeout, most)
            self.polls.append((timeout, sum(map(len, polled.values()))))
            return polled

        monkeypatch.setattr(processor, "SLICE", SLICE)
        monkeypatch.setattr(processor, "normalize", slow)
        rig.source.poll = seen  # type: ignore[method-assign]

    def turn(self) -> int:
        """Take a turn; return the rows that are buffered after it."""
        self.rig.processor.turn()
        return self.rig.processor.buffered()

    def finish(self, until: Callable[[], bool]) -> None:
        """Take turns, each a batch's age after the other, until something holds."""

        def later() -> bool:
            self.rig.clock.advance(MAX_AGE)
            return until()

        self.rig.turn(later)


@pytest.fixture
def slow(rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeBroker], SlowRig]:
    def make(broker: FakeBroker) -> SlowRig:
        return SlowRig(rigs(broker, batch=BatchSettings(max_rows=10_000, max_age=MAX_AGE)), monkeypatch)

    return make


def filled(records: int, partitions: int = 1) -> FakeBroker:
    broker = FakeBroker(partitions=partitions)
    for number in range(records):
        broker.produce(wire(completed(number)), number % partitions)
    return broker


def test_the_group_is_polled_between_slices_of_time_and_nothing_is_delivered_before_the_rest_is_read(
    slow: Callable[[FakeBroker], SlowRig],
) -> None:
    late = slow(filled(150))
    heartbeats = set()
    rows = []
    for _ in range(5):
        rows.append(late.turn())
        heartbeats.add(late.rig.processor.last_heartbeat)
    assert len(heartbeats) == 5, "the loop shows that it is alive in each turn"
    assert [number for _, number in late.polls] == [FIRST_POLL, 0, 0, 0, 0]
    assert {timeout for timeout, _ in late.polls[1:]} == {0.0}, "there is something to do: no wait"
    late.finish(lambda: late.rig.committed() == 150)
    assert sorted(row["kafka_offset"] for row in late.rig.ledger()) == list(range(150))
    assert late.rig.value("runstep_records_total", outcome="stored", reason="") == 150


def test_what_waits_is_read_in_order(slow: Callable[[FakeBroker], SlowRig]) -> None:
    late = slow(filled(120, partitions=2))
    while late.turn() < FIRST_POLL:
        pass
    for part in late.rig.processor._filling.parts.values():
        offsets = [record.offset for record in part.records]
        assert offsets == list(range(len(offsets)))


def test_what_waits_of_a_withdrawn_partition_is_not_read_and_the_rest_is(slow: Callable[[FakeBroker], SlowRig]) -> None:
    broker = filled(100, partitions=2)
    late = slow(broker)
    assert late.turn() == 2 * SLICE
    other = FakeSource(broker)
    other.poll(0, 1)
    (kept,) = (partition for partition in broker.partitions if broker.owners[partition] is late.rig.source)
    for _ in range(8):
        late.turn()
    parts = late.rig.processor._filling.parts
    assert {partition: part.rows() for partition, part in parts.items()} == {kept: 50}
    other.close()
    late.finish(lambda: late.rig.committed(0) == late.rig.committed(1) == 50)
    assert len(late.rig.ledger()) == 100
    assert late.rig.value("runstep_records_total", outcome="stored", reason="") == 100


def test_what_waits_behind_a_halt_is_read_again_from_the_committed_offset(
    slow: Callable[[FakeBroker], SlowRig],
) -> None:
    late = slow(filled(FIRST_POLL))
    late.turn()
    late.rig.source.halt(ZERO, "a test")
    assert late.turn() == 2 * SLICE, "nothing is read any more"
    late.finish(lambda: late.rig.committed() == FIRST_POLL)
    assert late.rig.value("runstep_records_total", outcome="stored", reason="") == FIRST_POLL


def test_offsets_that_no_client_can_read_come_behind_what_waits(slow: Callable[[FakeBroker], SlowRig]) -> None:
    late = slow(filled(FIRST_POLL))
    late.turn()
    late.rig.source._changes.append(Unreadable(ZERO, FIRST_POLL, FIRST_POLL + 1, "CRC mismatch"))
    while late.turn() < FIRST_POLL + 2:
        pass
    (part,) = late.rig.processor._filling.parts.values()
    assert [record.offset for record in part.records] == list(range(FIRST_POLL + 2))
    assert part.next_offset == FIRST_POLL + 2


def test_a_stop_does_not_wait_for_what_is_not_read_and_does_not_commit_it(
    slow: Callable[[FakeBroker], SlowRig],
) -> None:
    late = slow(filled(FIRST_POLL))
    assert late.turn() == 2 * SLICE
    late.rig.processor.drain(60.0)
    assert late.rig.committed() == len(late.rig.ledger()) == 2 * SLICE


@pytest.fixture
def hanging() -> Iterator[FakeSink]:
    """A sink that does not answer an insert before the test ends, or lets go of it by `sink.answer`."""
    sink = FakeSink()
    insert, answer = sink.insert, threading.Event()

    def hang(columns: Columns, token: str) -> None:
        answer.wait(60)
        insert(columns, token)

    sink.insert = hang  # type: ignore[method-assign]
    sink.answer = answer.set  # type: ignore[attr-defined]
    yield sink
    answer.set()


def settled(rig: Rig) -> int:
    """Take turns until nothing more is asked for; return the next offset."""
    position = -1
    while position != (position := rig.source.positions.get(ZERO, 0)) or not position:
        for _ in range(20):
            rig.clock.advance(1.0)
            rig.processor.turn()
    return position


def test_a_full_batch_is_exceeded_by_one_slice_at_most(
    rigs: Callable[..., Rig], hanging: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "SLICE", SLICE)
    broker = FakeBroker()
    for _ in range(200):
        broker.produce(wire({"data": [completed(number) for number in range(20)]}))
    rig = rigs(broker, sink=hanging, max_rows=100)
    assert settled(rig) == FIRST_POLL, "the rest of it waits, and nothing more is asked for"
    assert rig.processor.buffered() <= 100 + 20 * SLICE
    hanging.answer()  # type: ignore[attr-defined]
    rig.turn(lambda: rig.committed() == 200)
    assert len(rig.ledger()) == 4_000


@pytest.mark.parametrize("where", ["key", "headers", "metadata"])
def test_no_more_is_read_than_memory_holds_whatever_part_of_a_record_is_heavy(
    rigs: Callable[..., Rig], hanging: FakeSink, where: str
) -> None:
    broker = FakeBroker()
    heavy: dict[str, Any] = {"metadata": {str(number): "x" for number in range(1_000)}} if where == "metadata" else {}
    for number in range(500):
        headers = [("h", b"x" * 100_000)] if where == "headers" else ()
        offset = broker.produce(wire(completed(number, **heavy)), headers=headers)
        if where == "key":
            broker.logs[ZERO][offset] = broker.logs[ZERO][offset]._replace(key=b"k" * 100_000)
    rig = rigs(broker, sink=hanging, batch=BatchSettings(max_bytes=5_000_000))
    assert settled(rig) <= 150, "two batches of 50, and a slice each"
    hanging.answer()  # type: ignore[attr-defined]
    rig.turn(lambda: rig.committed() == 500)


def test_what_waits_is_not_read_under_the_next_assignment(slow: Callable[[FakeBroker], SlowRig]) -> None:
    broker = filled(FIRST_POLL)
    late = slow(broker)
    late.turn()
    broker.evict(late.rig.source)
    while late.turn() < FIRST_POLL:
        pass
    (part,) = late.rig.processor._filling.parts.values()
    assert [record.offset for record in part.records] == list(range(FIRST_POLL))
