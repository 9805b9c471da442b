"""Attempts: made as they come, behind a probe each after failures in a row, and repeated with back-off."""

import math
import random

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from pipeline.contracts import Columns, StepKey
from pipeline.daemon.attempts import (
    FAILURES_BEFORE_PROBE,
    SUSPECT_ATTEMPTS,
    Abandoned,
    Attempts,
    RetryPolicy,
    TooLarge,
    Unclassified,
)
from pipeline.daemon.insert_memory import AMBIGUOUS_ATTEMPTS
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkRefused, SinkUnavailable
from pipeline.metrics import Metrics
from tests.support.fakes.clock import FakeClock

AWAY = SinkUnavailable("away", ErrorClass.TRANSIENT)
CUT = SinkUnavailable("the connection to http://ch:8123 broke: connection reset by peer", ErrorClass.AMBIGUOUS)
UNKNOWN = SinkUnavailable("ClickHouse error 4711 (NOBODY_KNOWS)", ErrorClass.UNKNOWN)
ROWS: Columns = [[1, 2]]


class Sink:
    """Counts probes and inserts, and what the breaker said in each; both fail while their error is set, or is due."""

    def __init__(self) -> None:
        self.attempts: Attempts
        self.registry = CollectorRegistry()
        self.probes = 0
        self.inserts = 0
        self.seen: list[str] = []
        self.probe_error: Exception | None = None
        self.insert_error: Exception | None = None
        self.insert_errors: list[Exception] = []
        self.stop_after = 1_000

    def probe(self) -> None:
        self.probes += 1
        self._meet(self.probe_error)

    def insert(self, columns: Columns, token: str) -> None:
        self.inserts += 1
        self._meet(self.insert_errors.pop(0) if self.insert_errors else self.insert_error)

    def _meet(self, error: Exception | None) -> None:
        self.seen.append(self.attempts.breaker)
        if self.probes + self.inserts >= self.stop_after:
            self.attempts.stop()
        if error is not None:
            raise error

    def counted_steps(self, *_: object) -> list[StepKey]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def sink() -> Sink:
    made = Sink()
    made.attempts = Attempts(made, Metrics(made.registry, (1.0,)), FakeClock(), RetryPolicy(0.01, 0.02, 5))
    return made


def fail(sink: Sink, times: int) -> None:
    """Insert into a sink that is away until it was asked so many times more."""
    sink.stop_after = sink.probes + sink.inserts + times
    sink.attempts._stop.clear()
    with pytest.raises(Abandoned):
        sink.attempts.insert(ROWS, "token")


def test_opens_after_failures_in_a_row_and_then_probes_once_an_attempt(sink: Sink) -> None:
    sink.insert_error = sink.probe_error = AWAY
    fail(sink, FAILURES_BEFORE_PROBE)
    assert (sink.attempts.breaker, sink.inserts, sink.probes) == ("open", FAILURES_BEFORE_PROBE, 0)
    fail(sink, 4)
    assert (sink.attempts.breaker, sink.inserts, sink.probes) == ("open", FAILURES_BEFORE_PROBE, 4)
    assert sink.seen == ["closed"] * FAILURES_BEFORE_PROBE + ["half_open"] * 4


def test_a_probe_that_passes_lets_one_attempt_through_and_its_success_closes(sink: Sink) -> None:
    sink.insert_error = AWAY
    fail(sink, FAILURES_BEFORE_PROBE + 2)
    assert (sink.attempts.breaker, sink.inserts, sink.probes) == ("open", FAILURES_BEFORE_PROBE + 1, 1)
    sink.insert_error = None
    sink.attempts.insert(ROWS, "token")
    assert (sink.attempts.breaker, sink.attempts.failures_in_a_row) == ("closed", 0)
    assert sink.seen[-2:] == ["half_open"] * 2
    sink.attempts.insert(ROWS, "token")
    assert sink.probes == 2


@pytest.mark.parametrize("error_class", [ErrorClass.SCHEMA, ErrorClass.SHAPE])
def test_a_rejection_of_rows_is_an_answer(sink: Sink, error_class: ErrorClass) -> None:
    sink.insert_error = AWAY
    fail(sink, FAILURES_BEFORE_PROBE)
    sink.insert_error = SinkRefused("no", error_class)
    with pytest.raises(SinkRefused):
        sink.attempts.insert(ROWS, "token")
    assert sink.attempts.breaker == "closed"


def test_an_insert_that_is_cut_off_again_and_again_while_probes_pass_is_too_large(sink: Sink) -> None:
    sink.insert_error = CUT
    with pytest.raises(TooLarge, match="connection reset by peer, although small queries pass") as caught:
        sink.attempts.insert(ROWS, "token", ambiguous_attempts=AMBIGUOUS_ATTEMPTS)
    assert caught.value.error_class is ErrorClass.SHAPE
    assert (sink.inserts, sink.probes) == (FAILURES_BEFORE_PROBE + AMBIGUOUS_ATTEMPTS, AMBIGUOUS_ATTEMPTS)
    assert sink.attempts.breaker == "open", "the halves are made behind probes, too"


def test_a_server_that_the_rows_kill_is_away_in_between_and_they_are_too_large_all_the_same(sink: Sink) -> None:
    sink.insert_errors = [CUT, AWAY, AWAY, CUT, AWAY, AWAY]
    sink.insert_error = CUT
    with pytest.raises(TooLarge):
        sink.attempts.insert(ROWS, "token", ambiguous_attempts=AMBIGUOUS_ATTEMPTS)


def test_an_outage_whatever_its_length_makes_no_insert_too_large(sink: Sink) -> None:
    """Probes fail with the same error that inserts fail with."""
    sink.insert_error = sink.probe_error = CUT
    sink.stop_after = 50
    with pytest.raises(Abandoned):
        sink.attempts.insert(ROWS, "token", ambiguous_attempts=AMBIGUOUS_ATTEMPTS)


def test_a_single_row_that_is_cut_off_stays_ambiguous(sink: Sink) -> None:
    sink.insert_error = CUT
    sink.stop_after = 50
    with pytest.raises(Abandoned):
        sink.attempts.insert([[1]], "token", ambiguous_attempts=math.inf)
    assert sink.attempts.trouble == str(CUT)


def test_a_success_starts_the_count_anew(sink: Sink) -> None:
    for _ in range(3):
        sink.insert_errors = [CUT] * (FAILURES_BEFORE_PROBE + AMBIGUOUS_ATTEMPTS - 1)
        sink.attempts.insert(ROWS, "token", ambiguous_attempts=AMBIGUOUS_ATTEMPTS)


def test_a_size_that_is_only_tried_is_too_large_at_once(sink: Sink) -> None:
    sink.insert_errors = [CUT]
    with pytest.raises(TooLarge):
        sink.attempts.insert(ROWS, "token", ambiguous_attempts=0)
    assert (sink.inserts, sink.probes) == (1, 0)


def test_a_split_is_said_with_its_cause(sink: Sink) -> None:
    with capture_logs() as logs:
        sink.attempts.split(100, 50, TooLarge(str(CUT), ErrorClass.SHAPE))
        sink.attempts.split(50, 25, SinkRefused("ClickHouse error 241", ErrorClass.SHAPE, 241))
    assert [(line["event"], line["rows"], line["most_rows"], line["cause"]) for line in logs] == [
        ("insert_split", 100, 50, str(CUT)),
        ("insert_split", 50, 25, "ClickHouse error 241"),
    ]
    for kind in ("ambiguous", "shape"):
        assert sink.registry.get_sample_value("runstep_insert_splits_total", {"error_class": kind}) == 1


def test_single_failures_do_not_open(sink: Sink) -> None:
    for _ in range(FAILURES_BEFORE_PROBE * 2):
        sink.insert_errors = [AWAY]
        sink.attempts.insert(ROWS, "token")
    assert (sink.probes, sink.inserts) == (0, FAILURES_BEFORE_PROBE * 4)


def test_a_probe_of_an_idle_sink_that_passes_closes_too(sink: Sink) -> None:
    sink.insert_error = AWAY
    fail(sink, FAILURES_BEFORE_PROBE)
    sink.attempts.probe()
    assert (sink.attempts.breaker, sink.attempts.trouble, sink.attempts.sink_trouble) == ("closed", None, None)


@pytest.mark.parametrize(("suspected", "allowed"), [(False, 5), (True, SUSPECT_ATTEMPTS)])
def test_unclassified_failures_in_a_row_end_the_attempts(sink: Sink, *, suspected: bool, allowed: int) -> None:
    sink.insert_errors = [*[UNKNOWN] * (allowed - 1), AWAY]
    sink.insert_error = UNKNOWN
    with pytest.raises(Unclassified, match="NOBODY_KNOWS"):
        sink.attempts.insert(ROWS, "token", suspected=suspected)
    assert sink.inserts == 2 * allowed, "a classified one restarts the count"


def test_dead_letters_that_are_not_acknowledged_say_nothing_of_the_sink(sink: Sink) -> None:
    sink.attempts.probe()
    outcomes: list[Exception | None] = [DeadLetterUnavailable("the dead-letter topic is away"), None]
    seen: list[tuple[str | None, str | None]] = []

    def send() -> None:
        seen.append((sink.attempts.trouble, sink.attempts.sink_trouble))
        if error := outcomes.pop(0):
            raise error

    sink.attempts.persist(send)
    assert seen == [(None, None), ("the dead-letter topic is away", None)]
    assert sink.attempts.last_errors == {"dead_letter": "the dead-letter topic is away"}
    assert sink.attempts.trouble is None


def test_delays_double_up_to_the_longest_with_jitter() -> None:
    delays = RetryPolicy(1.0, 6.0, chance=random.Random(1)).delays()
    for full in (1.0, 2.0, 4.0, 6.0, 6.0):
        assert full / 2 <= next(delays) <= full
