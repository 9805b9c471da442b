"""When one partition is halted: too many rejected records, unclassified failures, bytes that no client can read."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.contracts import Columns, Unreadable
from pipeline.daemon.attempts import SUSPECT_ATTEMPTS
from pipeline.daemon.processor import SLICE
from pipeline.errors import ErrorClass, SinkUnavailable
from pipeline.records import Partition
from schemas.row import INDEX
from tests.support.events import completed, wire
from tests.support.fakes.kafka import FakeBroker, FakeRecord
from tests.support.fakes.sink import FakeSink
from tests.support.processor_rig import Rig, rig_factory

STRICT = {"max_consecutive": 100, "max_ratio": 0.5}


class CursedSink(FakeSink):
    """Fails for an unknown reason while a partition in `cursed` is in an insert."""

    def __init__(self) -> None:
        super().__init__()
        self.cursed: set[int] = set()

    def insert(self, columns: Columns, token: str) -> None:
        if self.cursed.intersection(columns[INDEX["kafka_partition"]]):
            raise SinkUnavailable("ClickHouse error 4711 (NOBODY_KNOWS)", ErrorClass.UNKNOWN, 4711)
        super().insert(columns, token)


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    with rig_factory() as make:
        yield make


def produce(broker: FakeBroker, partition: int, *kinds: str) -> None:
    for kind in kinds:
        number = broker.ends[broker.partitions[partition]]
        event = completed(number, run_id=f"run_{partition}")
        broker.produce(b"poison" if kind == "bad" else wire(event), partition)


def test_a_flood_of_bad_records_halts_its_partition_before_it_reaches_the_dead_letters(
    rigs: Callable[..., Rig],
) -> None:
    broker = FakeBroker(partitions=2)
    produce(broker, 0, *["good"] * SLICE, *["bad"] * 5_000)
    produce(broker, 1, *["good"] * 10)
    rig = rigs(broker, dead_letter=STRICT)
    rig.turn(lambda: bool(rig.source.halted) and rig.committed(1) == 10)
    assert rig.source.halted.keys() == {Partition("run-steps", 0)}
    assert re.search(
        r"(\d+) records in a row were rejected: invalid_json \1; the latest at offset \d+, with: expected value",
        str(rig.source.halted),
    )
    rig.turn(lambda: rig.committed(0) > 0)
    assert rig.committed(0) <= SLICE
    assert rig.dead_letters.dead_letters == []
    assert len(rig.ledger()) == rig.committed(0) + 10
    produce(broker, 1, "good")
    rig.turn(lambda: rig.committed(1) == 11)


def test_a_halted_partition_is_tried_again_and_does_not_leak_into_the_dead_letters(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    produce(broker, 0, *["bad"] * 5_000)
    rig = rigs(broker, dead_letter=STRICT, retry={"halted_delay": 10.0})
    rig.turn(lambda: bool(rig.source.halted))
    for _ in range(100):
        rig.turn(lambda: True)
        rig.clock.advance(1.0)
        rig.processor.turn()
        for count in re.findall(r"(\d[\d,]*) records in a row", str(rig.source.halted)):
            assert int(count.replace(",", "")) <= 100 + SLICE, "what is read again is counted once"
    assert len(rig.dead_letters.dead_letters) <= 100
    assert rig.committed() <= 100
    broker.expire(0, below=5_000)
    produce(broker, 0, "good")
    rig.turn(lambda: rig.committed() == 5_001)
    assert rig.source.halted == {}


def test_scattered_bad_records_halt_nothing(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    produce(broker, 0, *["bad", "good", "good"] * 1_000)
    rig = rigs(broker, dead_letter=STRICT)
    rig.turn(lambda: rig.committed() == 3_000)
    assert len(rig.dead_letters.dead_letters) == 1_000


def test_an_unclassified_failure_halts_its_partition_after_a_few_attempts_and_commits_nothing_of_it(
    rigs: Callable[..., Rig],
) -> None:
    broker, sink = FakeBroker(partitions=2), CursedSink()
    sink.cursed = {1}
    for number in (0, 1):
        produce(broker, number, *["good"] * 3)
    rig = rigs(broker, sink=sink, retry={"halted_delay": 50.0})
    rig.turn(lambda: rig.committed(0) == 3 and bool(rig.source.halted))
    assert rig.source.halted == {Partition("run-steps", 1): "ClickHouse error 4711 (NOBODY_KNOWS)"}
    produce(broker, 0, "good")
    produce(broker, 1, "good")
    rig.turn(lambda: rig.committed(0) == 4)
    assert rig.committed(1) == 0
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 4

    sink.cursed = set()
    rig.turn(lambda: rig.committed(1) == 4)
    assert rig.source.halted == {}
    assert len(rig.ledger()) == 8
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 8


def test_what_was_read_behind_rows_that_were_given_up_is_not_committed(rigs: Callable[..., Rig]) -> None:
    broker, sink = FakeBroker(), CursedSink()
    sink.cursed = {0}
    rig = rigs(broker, sink=sink, max_rows=3, retry={"halted_delay": 50.0})
    produce(broker, 0, *["good"] * 3)
    rig.turn(lambda: rig.writer.busy)
    produce(broker, 0, *["good"] * 2)
    rig.turn(lambda: bool(rig.source.halted))
    sink.cursed = set()
    for _ in range(20):
        rig.processor.turn()
    assert rig.committed() == 0
    rig.turn(lambda: rig.committed() == 5)
    assert len(rig.ledger()) == 5


def test_offsets_that_no_client_can_read_are_dead_lettered_by_their_place(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    produce(broker, 0, "good", "good")
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 2)
    rig.source._changes.append(Unreadable(Partition("run-steps", 0), 2, 4, "CRC mismatch"))
    broker.skip(0, 3)
    produce(broker, 0, "good")
    rig.turn(lambda: rig.committed() == 6)
    rows: list[dict[str, Any]] = sorted(rig.ledger(), key=lambda row: row["kafka_offset"])
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("stored", ""),
        ("stored", ""),
        *[("dead_lettered", "unreadable")] * 3,
        ("stored", ""),
    ]
    assert [(dead_letter.record.offset, dead_letter.detail) for dead_letter in rig.dead_letters.dead_letters] == [
        (2, "CRC mismatch"),
        (3, "CRC mismatch"),
        (4, "CRC mismatch"),
    ]
    assert rig.value("runstep_records_total", outcome="dead_lettered", reason="unreadable") == 3


def test_a_flood_of_rows_that_the_sink_rejects_halts_its_partition_and_does_not_leak_however_often_it_is_tried(
    rigs: Callable[..., Rig],
) -> None:
    broker, sink = FakeBroker(partitions=2), FakeSink()
    sink.refuse = lambda row: row["run_id"] == "run_0" and row["kafka_offset"] % 10 > 0
    produce(broker, 0, *["good"] * 3_000)
    produce(broker, 1, *["good"] * 10)
    rig = rigs(broker, sink=sink, max_rows=400, dead_letter=STRICT, retry={"halted_delay": 10.0})
    rig.turn(lambda: bool(rig.source.halted) and rig.committed(1) == 10)
    (partition,), (cause,) = rig.source.halted.keys(), rig.source.halted.values()
    assert partition == Partition("run-steps", 0)
    assert re.match(
        r"ClickHouse rejected \d+ rows; 90% of the latest 1,000 records were rejected: refused_by_sink 90\d; "
        r"the latest with: ClickHouse error 469 \(VIOLATED_CONSTRAINT\).*; "
        r"look at them with `runstep dlq list --origin run-steps/0` and remove the cause, "
        r"or raise dead_letter.max_ratio \(now 0\.5; 1 is no limit\)$",
        cause,
    ), cause
    for visits in range(4):
        tried = len(sink.attempts)
        rig.turn(lambda tried=tried: len(sink.attempts) > tried and bool(rig.source.halted))  # type: ignore[misc]
        assert len(rig.dead_letters.dead_letters) <= 900, visits
    assert rig.committed() == len(rig.dead_letters.dead_letters) * 10 // 9 <= 1_000
    produce(broker, 1, "good")
    rig.turn(lambda: rig.committed(1) == 11)

    sink.refuse = lambda _row: False
    rig.turn(lambda: rig.committed() == 3_000)
    assert rig.source.halted == {}
    assert len(rig.ledger()) == 3_011


def test_rows_in_a_row_that_the_sink_rejects_halt_their_partition_over_batches(rigs: Callable[..., Rig]) -> None:
    broker, sink = FakeBroker(), FakeSink()
    sink.refuse = lambda row: row["kafka_offset"] >= 50
    rig = rigs(broker, sink=sink, max_rows=30, dead_letter=STRICT)
    produce(broker, 0, *["good"] * 500)
    rig.turn(lambda: bool(rig.source.halted))
    assert "records in a row were rejected: refused_by_sink 1" in str(rig.source.halted)
    assert "or raise dead_letter.max_consecutive (now 100; 0 is no limit)" in str(rig.source.halted)
    assert rig.committed() == 50 + len(rig.dead_letters.dead_letters)
    assert len(rig.dead_letters.dead_letters) <= 100


def test_a_partition_that_fails_for_good_does_not_hold_up_the_others_at_every_visit(rigs: Callable[..., Rig]) -> None:
    broker, sink = FakeBroker(partitions=2), CursedSink()
    sink.cursed = {1}
    for number in (0, 1):
        produce(broker, number, "good")
    rig = rigs(broker, sink=sink, retry={"halted_delay": 50.0})
    rig.turn(lambda: rig.committed(0) == 1 and bool(rig.source.halted))
    for visit in range(1, 4):
        failed = rig.value("runstep_insert_retries_total", error_class="unknown")
        rig.clock.advance(51.0)
        rig.processor.turn()
        produce(broker, 0, "good")
        rig.turn(lambda visit=visit: rig.committed(0) == 1 + visit and bool(rig.source.halted))  # type: ignore[misc]
        assert rig.value("runstep_insert_retries_total", error_class="unknown") == failed + SUSPECT_ATTEMPTS


def test_nothing_is_read_behind_records_that_exceed_the_limits(rigs: Callable[..., Rig]) -> None:
    broker, partition = FakeBroker(), Partition("run-steps", 0)
    produce(broker, 0, "good")
    rig = rigs(broker, dead_letter=STRICT)
    rig.turn(lambda: rig.committed() == 1)
    halts: list[Partition] = []

    def halt(partition: Partition, cause: str) -> None:
        assert cause
        halts.append(partition)

    rig.source.halt = halt  # type: ignore[method-assign]
    records = [FakeRecord("run-steps", 0, offset, 1_000, b"k", b"poison") for offset in range(1, 1 + 3 * SLICE)]
    rig.processor._unread.add({partition: records})
    rig.processor._read()
    assert (halts, rig.processor.buffered()) == ([partition], 0)


def place(rig: Rig, partition: int) -> tuple[int | None, int | None, int | None]:
    """Return position, committed offset and lag of a partition, as /status says."""
    shown = rig.processor.status()[f"run-steps/{partition}"]
    assert rig.registry.get_sample_value(
        "runstep_consumer_lag_records", {"topic": "run-steps", "partition": str(partition)}
    ) in {None, shown["lag"]}
    return shown["position"], shown["committed"], shown["lag"]


def test_position_and_lag_add_up_to_the_end_whether_a_partition_is_read_halted_or_without_records(
    rigs: Callable[..., Rig],
) -> None:
    broker, sink = FakeBroker(partitions=4), CursedSink()
    sink.cursed = {2}
    produce(broker, 0, *["good"] * 7)
    broker.skip(0, 2)
    produce(broker, 1, *["good"] * 50, *["bad"] * 5_000)
    produce(broker, 2, *["good"] * 20)
    rig = rigs(broker, sink=sink, dead_letter=STRICT, retry={"halted_delay": 10_000.0})
    rig.turn(lambda: len(rig.source.halted) == 2 and rig.committed(0) == 7 and rig.committed(1) >= 50)
    produce(broker, 2, *["good"] * 5)
    for _ in range(7):
        rig.clock.advance(1.0)
        rig.processor.turn()
    begin = rig.committed(1)
    assert begin < 5_050
    assert place(rig, 0) == (9, 7, 0)
    assert place(rig, 1) == (begin, begin, 5_050 - begin)
    assert place(rig, 2) == (0, 0, 25)
    assert place(rig, 3) == (0, 0, 0)


def test_what_is_not_known_of_a_partition_is_not_guessed(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    rig = rigs(broker)
    rig.source.troubles["brokers"] = "away"
    rig.turn(lambda: "run-steps/0" in rig.processor.status())
    assert place(rig, 0) == (None, None, None)
    produce(broker, 0, "good", "good")
    rig.turn(lambda: rig.committed() == 2)
    rig.processor.turn()
    assert place(rig, 0) == (2, 2, None)
