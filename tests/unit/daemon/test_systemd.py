"""What the service manager is notified of, on a real socket, from a daemon whose state the test sets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline.config import HttpSettings, Settings
from pipeline.daemon.systemd import Notifier
from pipeline.endpoints.status import ProcessStatus
from tests.support.fakes.service_manager import ServiceManager

SETTINGS = Settings(drain_timeout=25.0, http=HttpSettings(final_scrape=5.0))


class Patient:
    """A daemon as its endpoints see it."""

    def __init__(self) -> None:
        self.state = "starting"
        self.causes: list[str] = []
        self.stuck: str | None = None

    def alive(self) -> str | None:
        return self.stuck

    def ready(self) -> list[str]:
        return self.causes

    def status(self) -> ProcessStatus:
        if self.state == "broken":
            raise ValueError("no status")
        return ProcessStatus(state=self.state, causes=self.causes)


@pytest.fixture
def daemon() -> Patient:
    return Patient()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[ServiceManager]:
    with ServiceManager(address) as manager:
        yield manager


def test_a_daemon_has_started_when_it_runs_whether_or_not_it_has_to_wait(
    daemon: Patient, address: str, manager: ServiceManager
) -> None:
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address})
    daemon.causes = ["the daemon is starting"]
    notifier.look()
    assert manager.received() == ["STATUS=starting"]
    daemon.state, daemon.causes = "waiting", ["Kafka was not reached\nyet", "sink: refused"]
    notifier.look()
    assert manager.received() == ["READY=1", "STATUS=waiting: Kafka was not reached yet; sink: refused"]
    notifier.look()
    assert manager.received() == []
    daemon.state, daemon.causes = "running", []
    notifier.look()
    assert manager.received() == ["STATUS=running"]


def test_the_end_may_take_as_long_as_the_settings_allow(daemon: Patient, address: str, manager: ServiceManager) -> None:
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address})
    daemon.state = "draining"
    notifier.look()
    assert manager.received() == ["READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=50000000", "STATUS=draining"]
    daemon.state = "drained"
    notifier.look()
    assert manager.received() == ["STATUS=drained"]


def test_a_daemon_that_is_stuck_gives_no_sign_of_life_until_it_moves_again(
    daemon: Patient, address: str, manager: ServiceManager
) -> None:
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    daemon.state = "running"
    notifier.look()
    assert "WATCHDOG=1" in manager.received()
    daemon.stuck = "the loop has made no progress for 61 s"
    notifier.look()
    assert manager.received() == []
    daemon.state = "broken"
    with capture_logs() as logged:
        notifier.look()
    assert manager.received() == []
    assert [line["event"] for line in logged] == ["status_failed"]
    daemon.state, daemon.stuck = "running", None
    notifier.look()
    assert manager.received() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("wanted", "signs"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_only_who_is_watched_gives_signs_of_life(
    daemon: Patient, address: str, manager: ServiceManager, wanted: dict[str, str], signs: bool
) -> None:
    Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address, **wanted}).look()
    assert ("WATCHDOG=1" in manager.received()) == signs


@pytest.mark.parametrize("abstract", [False, True])
def test_signs_of_life_go_on_by_themselves_until_the_end(daemon: Patient, tmp_path: Path, abstract: bool) -> None:
    name = f"runstep-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "20000"}
    notifier = Notifier(daemon, SETTINGS, environ)
    with ServiceManager(f"\0{name}" if abstract else name) as manager:
        notifier.start()
        assert manager.next() == ["STATUS=starting", "WATCHDOG=1"]
        daemon.state = "running"
        while "READY=1" not in manager.next():
            pass
        assert [manager.next() for _ in range(3)] == [["WATCHDOG=1"]] * 3
        daemon.state = "drained"
        notifier.close()
        assert {"STOPPING=1", "STATUS=drained"} <= set(manager.received())


def test_a_hint_is_followed_at_once(daemon: Patient, address: str, manager: ServiceManager) -> None:
    daemon.state = "running"
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address})
    notifier.start()
    assert "READY=1" in manager.next()
    daemon.state = "draining"
    notifier.hint()
    # Without the hint the next message would come after the look interval; here it is the very next one.
    assert "STOPPING=1" in manager.next()
    notifier.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_where_nobody_listens_nothing_happens(daemon: Patient, environ: dict[str, str]) -> None:
    with capture_logs() as logged:
        notifier = Notifier(daemon, SETTINGS, environ)
        notifier.start()
        notifier.hint()
        notifier.close()
    assert not notifier._thread.ident
    assert len(logged) == ("vsock" in str(environ))


def test_a_service_manager_that_does_not_read_holds_up_nobody(
    daemon: Patient, address: str, manager: ServiceManager
) -> None:
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    daemon.state = "running"
    with capture_logs() as logged:
        while not logged:
            notifier.look()
    assert [line["event"] for line in logged] == ["systemd_unreachable"]
    manager.received()
    notifier.look()
    assert manager.received() == ["READY=1", "STATUS=running", "WATCHDOG=1"]


def test_what_was_not_heard_is_sent_again_and_the_log_says_so_once(daemon: Patient, address: str) -> None:
    notifier = Notifier(daemon, SETTINGS, {"NOTIFY_SOCKET": address})
    daemon.state = "running"
    with capture_logs() as logged:
        notifier.look()
        notifier.look()
    assert [line["event"] for line in logged] == ["systemd_unreachable"]
    with ServiceManager(address) as manager:
        notifier.look()
        assert manager.received() == ["READY=1", "STATUS=running"]
