"""The watchdog on a thread that is really blocked: logged once, with all stacks, and again when it recovers."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.contracts import SystemClock
from pipeline.daemon.watchdog import PROCESS_STALLED_S, Watchdog, Watched, stacks
from tests.support.fakes.clock import FakeClock

STALLED_AFTER_S = 30.0


class Worker:
    """A thread that makes progress when it is let through its gate, and waits there otherwise."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.gate = threading.Event()
        self.progressed = threading.Event()
        self.last_heartbeat = clock.monotonic()
        self.failure: BaseException | None = None
        self.ended = False
        self.thread = threading.Thread(target=self.work, name="blocked", daemon=True)
        self.thread.start()

    def work(self) -> None:
        hunter2 = "hunter2"
        while not self.ended:
            self.wait_at_the_gate(hunter2)
            self.last_heartbeat = self.clock.monotonic()
            self.progressed.set()

    def wait_at_the_gate(self, secret: str) -> None:
        self.gate.wait()
        self.gate.clear()

    def proceed(self) -> None:
        self.progressed.clear()
        self.gate.set()
        assert self.progressed.wait(10)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def worker(clock: FakeClock) -> Iterator[Worker]:
    worker = Worker(clock)
    yield worker
    worker.ended = True
    worker.gate.set()
    worker.thread.join()


@pytest.fixture
def watchdog(clock: FakeClock, worker: Worker) -> Watchdog:
    def last_heartbeat() -> float:
        return worker.last_heartbeat

    return Watchdog(
        clock,
        [
            Watched("the worker", last_heartbeat, STALLED_AFTER_S, lambda: worker.failure),
            Watched("the other", clock.monotonic, STALLED_AFTER_S),
        ],
    )


def look_for(watchdog: Watchdog, clock: FakeClock, seconds: int) -> list[Any]:
    """Let so many seconds pass, with a look at each of them, and return what was logged."""
    with capture_logs() as logged:
        for _ in range(seconds):
            clock.advance(1)
            watchdog.look()
    return logged


def test_a_blocked_thread_is_logged_once_with_all_stacks_and_logged_when_it_recovers(
    clock: FakeClock, worker: Worker, watchdog: Watchdog
) -> None:
    assert look_for(watchdog, clock, 30) == []
    assert watchdog.cause() is None
    (logged,) = look_for(watchdog, clock, 100)
    assert (logged["event"], logged["log_level"]) == ("thread_stalled", "error")
    assert logged["cause"] == "the worker has made no progress for 31 s"
    assert watchdog.cause() == "the worker has made no progress for 130 s"
    worker.proceed()
    assert watchdog.cause() is None
    (again,) = look_for(watchdog, clock, 30)
    assert (again["event"], again["what"], again["after_seconds"]) == ("thread_recovered", "the worker", 130)
    assert [line["event"] for line in look_for(watchdog, clock, 2)] == ["thread_stalled"], (
        "a second stall is logged again"
    )


@pytest.mark.usefixtures("worker")
def test_stacks_name_every_thread_and_the_line_where_it_stands_but_no_value() -> None:
    blocked: list[str] = []
    deadline = time.monotonic() + 60
    while not any(place.endswith(" Event.wait") for place in blocked):
        assert time.monotonic() < deadline, blocked
        seen = stacks()
        (blocked,) = [list(places) for name, places in seen.items() if name.startswith("blocked ")]
    own = [place for place in blocked if place.startswith(f"{__file__}:")]
    assert [place.rpartition(" ")[2] for place in own] == ["Worker.work", "Worker.wait_at_the_gate"]
    assert any(name.startswith("MainThread ") for name in seen)
    assert "hunter2" not in str(seen)


def test_a_dead_thread_is_logged_at_once_and_without_its_message(
    clock: FakeClock, worker: Worker, watchdog: Watchdog
) -> None:
    worker.failure = KeyError("hunter2")
    assert watchdog.cause() == "the worker has ended: KeyError"
    (logged,) = look_for(watchdog, clock, 100)
    assert logged["cause"] == "the worker has ended: KeyError"


def test_a_process_that_stood_still_as_a_whole_is_given_a_moment(
    clock: FakeClock, worker: Worker, watchdog: Watchdog
) -> None:
    look_for(watchdog, clock, 1)
    clock.advance(PROCESS_STALLED_S + STALLED_AFTER_S)
    with capture_logs() as logged:
        watchdog.look()
    assert logged == []
    worker.proceed()
    assert look_for(watchdog, clock, 5) == []


def test_nothing_is_stuck_after_the_end(clock: FakeClock, watchdog: Watchdog) -> None:
    watchdog.start()
    clock.advance(STALLED_AFTER_S + 1)
    assert watchdog.cause() is not None
    watchdog.close()
    assert watchdog.cause() is None


def test_it_looks_by_itself() -> None:
    clock, blocked_since = SystemClock(), 0.0
    watchdog = Watchdog(clock, [Watched("the loop", lambda: blocked_since, 0.1)])
    with capture_logs() as logged:
        watchdog.start()
        deadline = time.monotonic() + 60
        while not logged:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        watchdog.close()
    assert [line["event"] for line in logged] == ["thread_stalled"]
