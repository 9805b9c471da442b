"""The loop on fakes: what is committed, counted, dropped and paused, turn by turn."""

from collections.abc import Callable, Iterator

import pytest

from pipeline.errors import ErrorClass, SinkUnavailable
from pipeline.records import Partition
from tests.support.events import completed, step, wire
from tests.support.fakes.kafka import FakeBroker, FakeSource
from tests.support.fakes.sink import FakeSink, Fault
from tests.support.processor_rig import Rig, rig_factory

AWAY = SinkUnavailable("ClickHouse is away", ErrorClass.TRANSIENT)


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    with rig_factory() as make:
        yield make


def test_stores_counts_and_commits_a_step(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(step()))
    broker.produce(wire(completed()))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 2)
    (row,) = rig.rows()
    assert (row["step_id"], row["status"], row["duration_ms"]) == ("step_1", "completed", 4_000)
    assert len(rig.ledger()) == 2
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 1
    assert rig.value("runstep_records_total", outcome="stored", reason="") == 2
    assert rig.value("runstep_tokens_total", token_type="input") == 100  # noqa: S106 - a label


@pytest.mark.parametrize("stamp", [-1, 1, 10_382_256_000_000])
def test_a_timestamp_that_cannot_be_true_spoils_no_position_and_no_delay(rigs: Callable[..., Rig], stamp: int) -> None:
    broker = FakeBroker()
    broker.produce(wire(step()))
    broker.produce(wire(completed()), timestamp=stamp)
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 2)
    place = {"topic": broker.topic, "partition": "0"}
    assert rig.value("runstep_consumer_position_timestamp_seconds", **place) == 1_764_000_000
    assert rig.value("runstep_ingest_delay_seconds_count") == 1
    assert rig.value("runstep_ingest_delay_seconds_sum") < 60
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 1


def test_accounts_for_what_is_no_run_step(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(b"{broken")
    broker.produce(None)
    broker.produce(wire({"object": "thread.run.step.delta", "id": "step_1", "delta": {}}))
    broker.produce(wire(step(id="")))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 4)
    outcomes = [(row["outcome"], row["reason"]) for row in sorted(rig.ledger(), key=lambda row: row["kafka_offset"])]
    assert outcomes == [
        ("dead_lettered", "invalid_json"),
        ("ignored", "tombstone"),
        ("ignored", "delta"),
        ("dead_lettered", "missing_step_id"),
    ]
    assert [dead_letter.record.value for dead_letter in rig.dead_letters.dead_letters] == [
        b"{broken",
        wire(step(id="")),
    ]
    assert not rig.rows()


def test_a_page_of_steps_is_one_record_and_several_rows(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire({"object": "list", "data": [completed(1), step(2, id=""), completed(3)]}))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 1)
    assert sorted((row["step_index"], row["outcome"]) for row in rig.ledger()) == [
        (0, "stored"),
        (1, "dead_lettered"),
        (2, "stored"),
    ]
    assert len(rig.dead_letters.dead_letters) == 1
    assert rig.value("runstep_records_total", outcome="dead_lettered", reason="missing_step_id") == 1
    assert rig.value("runstep_records_total", outcome="stored", reason="") == 0


def test_nothing_is_committed_while_the_sink_is_away_and_all_of_it_after(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    sink = FakeSink()
    sink.faults.extend([Fault(AWAY), Fault(AWAY, "between"), Fault(AWAY, "after")])
    broker.produce(wire(completed()))
    rig = rigs(broker, sink=sink)
    rig.turn(lambda: rig.committed() == 1)
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 1
    assert rig.value("runstep_insert_retries_total", error_class="transient") == 3
    assert len(rig.rows()) == len(rig.ledger()) == 1


def test_nothing_is_committed_before_its_dead_letters_are_acknowledged(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(b"poison")
    rig = rigs(broker)
    rig.dead_letters.failures = 1_000_000
    rig.turn(lambda: bool(rig.ledger()))
    for _ in range(20):
        rig.turn(lambda: True)
        rig.processor.turn()
    assert rig.committed() == 0
    rig.dead_letters.failures = 0
    rig.turn(lambda: rig.committed() == 1)
    assert [dead_letter.record.value for dead_letter in rig.dead_letters.dead_letters] == [b"poison"]


def test_a_step_that_is_sent_again_is_not_counted_again(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(completed()))
    first = rigs(broker)
    first.turn(lambda: first.committed() == 1)
    first.source.close()
    broker.produce(wire(completed()))
    second = rigs(broker, sink=first.sink)
    second.turn(lambda: second.committed() == 2)
    assert second.value("runstep_records_total", outcome="stored", reason="") == 1
    assert second.value("runstep_steps_total", type="message_creation", status="completed") == 0


def test_what_was_written_but_not_committed_is_counted_by_the_next_owner(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(completed()))
    first = rigs(broker)
    first.turn(lambda: first.writer.busy and bool(first.ledger()))
    broker.evict(first.source)
    second = rigs(broker, sink=first.sink)
    second.turn(lambda: second.committed() == 1)
    first.turn(lambda: not first.writer.busy)
    assert second.value("runstep_steps_total", type="message_creation", status="completed") == 1
    assert first.value("runstep_steps_total", type="message_creation", status="completed") == 0
    assert len(rig_rows := second.rows()) == 1, rig_rows


def test_rows_of_a_lost_partition_are_dropped_and_those_of_a_kept_one_stay(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker(partitions=2)
    sink = FakeSink()
    sink.down = AWAY
    rig = rigs(broker, sink=sink)
    for partition in (0, 1):
        broker.produce(wire(completed(partition)), partition)
    rig.processor.turn()
    rig.source.resume()
    rig.processor.turn()
    other = FakeSource(broker)
    other.poll(0, 1)
    sink.down = None
    rig.turn(lambda: rig.committed(0) == 1)
    assert rig.committed(1) == 0
    assert [row["kafka_partition"] for row in rig.ledger()] == [0]


def test_a_row_that_only_the_sink_rejects_is_dead_lettered_alone(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    sink = FakeSink()
    sink.refuse = lambda row: row["step_id"] == "step_37"
    for number in range(100):
        broker.produce(wire(completed(number)))
    rig = rigs(broker, sink=sink)
    rig.turn(lambda: rig.committed() == 100)
    assert len(rig.rows()) == 99
    assert len(rig.ledger()) == 100
    (dead_letter,) = rig.dead_letters.dead_letters
    assert (dead_letter.record.offset, dead_letter.reason) == (37, "refused_by_sink")
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 99
    assert rig.value("runstep_records_total", outcome="dead_lettered", reason="refused_by_sink") == 1


def test_a_table_that_rejects_every_row_is_waited_for_and_nothing_is_dead_lettered(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    sink = FakeSink()
    sink.refuse = lambda _row: True
    for number in range(100):
        broker.produce(wire(completed(number)))
    rig = rigs(broker, sink=sink)
    rig.turn(lambda: rig.writer.attempts.trouble is not None and "no row passes" in rig.writer.attempts.trouble)
    assert not rig.dead_letters.dead_letters
    sink.refuse = lambda _row: False
    rig.turn(lambda: rig.committed() == 100)
    assert len(rig.rows()) == 100
    assert not rig.dead_letters.dead_letters


def test_a_batch_too_large_for_the_server_is_split(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    sink = FakeSink()
    sink.most_rows = 10
    for number in range(100):
        broker.produce(wire(completed(number)))
    rig = rigs(broker, sink=sink)
    rig.turn(lambda: rig.committed() == 100)
    assert len(rig.rows()) == 100


def test_polling_goes_on_and_memory_stays_bounded_through_an_outage(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    rig = rigs(broker, max_rows=10)
    rig.turn(lambda: rig.writer.attempts.trouble is None)
    rig.sink.down = AWAY
    for number in range(500):
        broker.produce(wire(completed(number)))
    rig.source.max_records = 5
    for _ in range(100):
        rig.clock.advance(1.0)
        rig.processor.turn()
    assert rig.source.paused
    assert rig.processor.buffered() <= 15
    rig.sink.down = None
    rig.turn(lambda: rig.committed() == 500)
    assert len(rig.rows()) == 500


def test_records_of_many_steps_make_no_larger_batches(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    for number in range(200):
        broker.produce(wire({"object": "list", "data": [completed(number * 20 + step) for step in range(20)]}))
    rig = rigs(broker, max_rows=100)
    rig.turn(lambda: rig.committed() == 200)
    first, *others = [rows for _, rows in rig.sink.attempts]
    assert first <= 2_000
    assert max(others) <= 120


def test_offsets_that_kafka_dropped_are_counted(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    for number in range(10):
        broker.produce(wire(completed(number)))
    broker.committed[Partition("run-steps", 0)] = 2
    broker.expire(0, below=6)
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 10)
    assert rig.value("runstep_records_lost_total", topic="run-steps", partition="0") == 4


def test_old_steps_count_as_backfill_only(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(completed(created_at=1_700_000_000, completed_at=1_700_000_004)))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 1)
    assert rig.value("runstep_backfilled_steps_total", type="message_creation", status="completed") == 1
    assert rig.value("runstep_steps_total", type="message_creation", status="completed") == 0
    assert rig.value("runstep_tokens_total", token_type="input") == 0  # noqa: S106 - a label


def test_gaps_between_offsets_are_no_obstacle(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(completed(1)))
    broker.skip(0, 5)
    broker.produce(wire(completed(2)))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 7)
    assert sorted(row["kafka_offset"] for row in rig.ledger()) == [0, 6]


def test_drain_writes_and_commits_what_was_read(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    rig = rigs(broker)
    rig.turn(lambda: rig.writer.attempts.trouble is None)
    broker.produce(wire(completed()))
    rig.processor.turn()
    rig.processor.drain(1_000.0)
    assert rig.committed() == 1


def test_drain_gives_up_in_time_and_commits_nothing_while_the_sink_is_away(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    rig = rigs(broker)
    rig.turn(lambda: rig.writer.attempts.trouble is None)
    broker.produce(wire(completed()))
    rig.processor.turn()
    rig.sink.down = AWAY
    rig.processor.drain(0.05)
    assert rig.committed() == 0


def test_a_bug_in_the_writer_ends_the_loop_without_a_commit(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(wire(completed()))
    rig = rigs(broker)
    rig.sink.refuse = lambda _row: bool(1 // 0)
    with pytest.raises(ZeroDivisionError):
        rig.turn(lambda: False)
    assert rig.committed() == 0
