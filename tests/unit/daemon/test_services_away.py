"""What the numbers say while a service is away: Kafka from the start or later, loud or silent; dead letters alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from prometheus_client import CollectorRegistry

from pipeline.config import Settings
from pipeline.daemon.app import Pipeline
from pipeline.endpoints.status import SinkStatus
from pipeline.errors import ErrorClass, SinkUnavailable
from pipeline.records import Partition, Record
from tests.support.events import completed, wire
from tests.support.fakes.kafka import FakeBroker
from tests.support.processor_rig import Rig, rig_factory

LAST_POLL = "runstep_last_poll_timestamp_seconds"


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    with rig_factory() as make:
        yield make


def take_turns(rig: Rig, seconds: int) -> None:
    for _ in range(seconds):
        rig.clock.advance(1.0)
        rig.processor.turn()


def nothing(*_: float) -> Mapping[Partition, Sequence[Record]]:
    return {}


def lag(rig: Rig) -> float | None:
    return rig.registry.get_sample_value("runstep_consumer_lag_records", {"topic": "run-steps", "partition": "0"})


def polls(rig: Rig) -> bool:
    """Take a turn, and return whether the numbers say that Kafka was polled in it; the writer moves the clock, too."""
    before = rig.clock.now()
    take_turns(rig, 1)
    return before < rig.value(LAST_POLL) <= rig.clock.now()


def reading(rigs: Callable[..., Rig]) -> Rig:
    """Return a rig that has read three records, and knows its lag."""
    broker = FakeBroker()
    for number in range(3):
        broker.produce(wire(completed(number)))
    rig = rigs(broker)
    rig.turn(lambda: rig.committed() == 3)
    take_turns(rig, 8)
    assert (lag(rig), rig.value("runstep_source_available")) == (0, 1)
    assert polls(rig)
    return rig


def test_kafka_that_was_never_reached_was_never_polled(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.down = True
    rig = rigs(broker)
    assert rig.value("runstep_source_available") == 0
    take_turns(rig, 300)
    assert (rig.value(LAST_POLL), rig.value("runstep_source_available")) == (0, 0)
    broker.down = False
    assert polls(rig)
    assert rig.value("runstep_source_available") == 1


def test_kafka_that_refuses_to_be_polled_leaves_no_number_that_looks_well(rigs: Callable[..., Rig]) -> None:
    rig = reading(rigs)
    polled = rig.value(LAST_POLL)
    rig.broker.down = True
    take_turns(rig, 1)
    assert rig.value("runstep_source_available") == 0
    take_turns(rig, 300)
    assert (rig.value(LAST_POLL), lag(rig)) == (polled, None)
    assert rig.processor.status()["run-steps/0"]["lag"] is None
    rig.broker.down = False
    take_turns(rig, 8)
    assert (rig.value("runstep_source_available"), lag(rig)) == (1, 0)


def test_brokers_that_fall_silent_are_named_and_the_lag_is_not_known(
    rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the real source does it: every poll is empty, none raises."""
    rig = reading(rigs)
    monkeypatch.setattr(rig.source, "poll", nothing)
    rig.source.troubles["brokers"] = "Kafka does not answer"
    take_turns(rig, 1)
    assert rig.value("runstep_source_available") == 0
    rig.broker.produce(wire(completed(4)))
    take_turns(rig, 3_600)
    assert lag(rig) is None
    assert (rig.value("runstep_assigned_partitions"), rig.value("runstep_source_available")) == (1, 0)
    rig.source.troubles.clear()
    take_turns(rig, 8)
    assert (rig.value("runstep_source_available"), lag(rig)) == (1, 1)


def test_one_question_for_the_lag_without_an_answer_is_no_outage(
    rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = reading(rigs)
    monkeypatch.setattr(rig.source, "progress", dict)
    take_turns(rig, 8)
    assert (rig.value("runstep_source_available"), lag(rig)) == (1, None)


def test_who_has_no_partitions_can_read_once_it_is_in_the_group(
    rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = FakeBroker(partitions=1)
    first, second = rigs(broker), rigs(broker)
    take_turns(first, 1)
    take_turns(second, 1)
    assert (second.value("runstep_assigned_partitions"), second.value("runstep_source_available")) == (0, 1)
    second.source._joined = False
    monkeypatch.setattr(second.source, "poll", nothing)
    take_turns(second, 1)
    assert second.value("runstep_source_available") == 0


def test_a_dead_letter_topic_that_is_away_is_no_trouble_of_the_sink(rigs: Callable[..., Rig]) -> None:
    broker = FakeBroker()
    broker.produce(b"poison")
    rig = rigs(broker)
    rig.dead_letters.failures = 1_000_000
    rig.turn(lambda: "dead_letter" in rig.writer.attempts.last_errors)
    assert "dead-letter topic is away" in str(rig.writer.attempts.trouble)
    assert (rig.writer.attempts.sink_trouble, rig.value("runstep_sink_available")) == (None, 1)
    rig.dead_letters.failures = 0
    rig.turn(lambda: rig.committed() == 1)
    rig.sink.down = SinkUnavailable("ClickHouse is away", ErrorClass.TRANSIENT)
    rig.turn(lambda: rig.writer.attempts.sink_trouble == "ClickHouse is away")
    rig.turn(lambda: rig.value("runstep_sink_available") == 0)


def _sink(pipeline: Pipeline) -> SinkStatus:
    sink = pipeline.status().sink
    assert sink is not None
    return sink


def test_status_says_of_the_sink_what_its_metric_says() -> None:
    pipeline = Pipeline(Settings(), CollectorRegistry())
    assert _sink(pipeline).cause == "ClickHouse was not reached yet"
    pipeline._writer.attempts._show_sink(None)
    pipeline._writer.attempts._raise_trouble("dead_letter", "the dead-letter topic is away")
    assert (_sink(pipeline).available, _sink(pipeline).cause) == (True, None)
    assert "the dead-letter topic is away" in pipeline.status().causes
    pipeline._writer.attempts._show_sink("ClickHouse is away")
    assert _sink(pipeline).cause == "ClickHouse is away"
    assert pipeline.registry.get_sample_value("runstep_sink_available") == 0
