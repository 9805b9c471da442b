"""Pauses that brokers order: added up over consumers, and named as long as they are recent."""

from types import SimpleNamespace
from typing import Any

from kafka.metrics.stats import Total

from pipeline.kafka.source.throttling import WINDOW_S, Throttling
from tests.support.fakes.clock import FakeClock


def consumer(milliseconds: float = 0.0) -> Any:
    return SimpleNamespace(throttled=Total(milliseconds))


def test_pauses_are_added_up_over_consumers() -> None:
    throttling = Throttling("runstep", FakeClock().monotonic)
    throttling.look(consumer(1_500))
    throttling.leave(consumer(2_000))
    throttling.look(consumer())
    assert throttling.seconds == 2.0
    throttling.look(consumer(250))
    assert throttling.seconds == 2.25


def test_what_was_ordered_within_the_last_minute_is_named_and_then_no_more() -> None:
    clock = FakeClock()
    throttling, client = Throttling("runstep", clock.monotonic), consumer()
    throttling.look(client)
    assert throttling.remark is None
    for _ in range(20):
        clock.advance(5)
        client.throttled.record(None, 2_000, 0)
        throttling.look(client)
    assert throttling.remark == (
        "a broker's quota slows reading: within the last minute it ordered pauses of 24.0 s; raise consumer_byte_rate "
        "or request_percentage for client id 'runstep' or its user"
    )
    clock.advance(WINDOW_S)
    throttling.look(client)
    clock.advance(1)
    throttling.look(client)
    assert (throttling.remark, throttling.seconds) == (None, 40.0)
