"""Signals: which end the daemon cleanly, what a second one does, and which only asks."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from pipeline.commands._exit_codes import INTERRUPTED
from pipeline.commands.run import stopping

ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]


class Asked:
    """What was done about signals."""

    def __init__(self) -> None:
        self.stops = 0
        self.abandoned = 0
        self.exits: list[int] = []

    def stop(self) -> None:
        self.stops += 1

    def abandon(self) -> None:
        self.abandoned += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    made = Asked()
    monkeypatch.setattr(os, "_exit", made.exits.append)
    old = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` it is ignored
    yield made
    signal.signal(signal.SIGHUP, old)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_the_first_of_the_signals_that_end_drains_and_the_second_ends_at_once(
    asked: Asked, number: signal.Signals
) -> None:
    with capture_logs() as logged, stopping(asked.stop, asked.abandon):
        send(number)
        until(lambda: asked.stops == 1)
        assert (asked.abandoned, asked.exits) == (0, [])
        send(signal.SIGTERM)
        until(lambda: bool(asked.exits))
    assert (asked.stops, asked.abandoned, asked.exits) == (1, 1, [INTERRUPTED])
    assert [(line["event"], line["signal"]) for line in logged] == [("draining", number.name)]


def test_a_terminal_that_is_closed_sends_two_and_the_daemon_drains_all_the_same(asked: Asked) -> None:
    with stopping(asked.stop, asked.abandon):
        send(signal.SIGHUP)
        until(lambda: asked.stops == 1)
        send(signal.SIGHUP)
        time.sleep(0.1)
    assert (asked.stops, asked.abandoned, asked.exits) == (1, 0, [])


def test_under_nohup_a_closed_terminal_changes_nothing(asked: Asked) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopping(asked.stop):
        send(signal.SIGHUP)
        time.sleep(0.1)
    assert asked.stops == 0


def test_stacks_are_logged_as_often_as_asked_for_and_the_daemon_goes_on(asked: Asked) -> None:
    with capture_logs() as logged, stopping(asked.stop, asked.abandon):
        for times in (1, 2):
            send(signal.SIGUSR1)
            until(lambda times=times: len(logged) == times)  # type: ignore[misc]  # mypy infers no lambda with a default
    assert (asked.stops, asked.exits) == (0, [])
    for line in logged:
        assert line["event"] == "stacks_logged"
        (main,) = (places for name, places in line["stacks"].items() if name.startswith("MainThread "))
        assert any("test_stacks_are_logged" in place for place in main)


def test_a_signal_is_obeyed_while_another_one_is_stuck(asked: Asked) -> None:
    stuck = threading.Event()
    with stopping(asked.stop, asked.abandon, lambda: (stuck.wait(), None)[1]):
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
        until(lambda: asked.stops == 1)
        stuck.set()


def test_the_handlers_that_were_there_come_back(asked: Asked) -> None:
    numbers = [*ENDING, signal.SIGUSR1]
    before = [signal.getsignal(number) for number in numbers]
    with stopping(asked.stop):
        assert all(callable(signal.getsignal(number)) for number in numbers)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
    until(lambda: all(thread.name != "runstep-signals" for thread in threading.enumerate()))
