"""The breaker: closed, open after failures in a row, one probe before the next attempt."""

from collections.abc import Callable

import pytest

from pipeline.daemon.breaker import OPENS_AFTER, Breaker, BreakerState
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable

AWAY = SinkUnavailable("away", ErrorClass.TRANSIENT)


class Calls:
    """Counts probes and attempts; each fails while its error is set."""

    def __init__(self) -> None:
        self.probes = 0
        self.attempts = 0
        self.probe_error: Exception | None = None
        self.attempt_error: Exception | None = None

    def probe(self) -> None:
        self.probes += 1
        if self.probe_error is not None:
            raise self.probe_error

    def attempt(self) -> str:
        self.attempts += 1
        if self.attempt_error is not None:
            raise self.attempt_error
        return "done"


def fail(breaker: Breaker, attempt: Callable[[], str], times: int) -> None:
    for _ in range(times):
        with pytest.raises(SinkUnavailable):
            breaker.call(attempt)


def test_opens_after_failures_in_a_row_and_then_probes_once_an_attempt() -> None:
    calls = Calls()
    calls.attempt_error = calls.probe_error = AWAY
    breaker = Breaker(calls.probe)
    fail(breaker, calls.attempt, OPENS_AFTER)
    assert (breaker.state, calls.attempts, calls.probes) == (BreakerState.OPEN, OPENS_AFTER, 0)
    fail(breaker, calls.attempt, 4)
    assert (breaker.state, calls.attempts, calls.probes) == (BreakerState.OPEN, OPENS_AFTER, 4)


def test_a_probe_that_passes_lets_one_attempt_through_and_its_success_closes() -> None:
    calls = Calls()
    calls.attempt_error = AWAY
    breaker = Breaker(calls.probe)
    fail(breaker, calls.attempt, OPENS_AFTER + 1)
    assert (breaker.state, calls.attempts, calls.probes) == (BreakerState.OPEN, OPENS_AFTER + 1, 1)
    calls.attempt_error = None
    assert breaker.call(calls.attempt) == "done"
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 0)
    breaker.call(calls.attempt)
    assert calls.probes == 2


@pytest.mark.parametrize("error_class", [ErrorClass.SCHEMA, ErrorClass.SHAPE])
def test_a_refusal_of_rows_is_an_answer(error_class: ErrorClass) -> None:
    calls = Calls()
    calls.attempt_error = AWAY
    breaker = Breaker(calls.probe)
    fail(breaker, calls.attempt, OPENS_AFTER)
    calls.attempt_error = SinkRefused("no", error_class)
    with pytest.raises(SinkRefused):
        breaker.call(calls.attempt)
    assert breaker.state is BreakerState.CLOSED


def test_single_failures_do_not_open() -> None:
    calls = Calls()
    breaker = Breaker(calls.probe)
    for _ in range(OPENS_AFTER * 2):
        calls.attempt_error = AWAY
        fail(breaker, calls.attempt, 1)
        calls.attempt_error = None
        breaker.call(calls.attempt)
    assert calls.probes == 0
