"""A server process under guard: started, signalled, waited for, and never left behind."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

from tests.servers.cache import ServerUnavailable

GUARD = Path(__file__).with_name("guard.py")
_PORTS = SystemRandom()


class ServerProcess:
    """A running server, held by its pidfd, so that no signal can reach a stranger who got its pid.

    Args:
        command: the program and its arguments.
        folder: where the server keeps its `server.log`.
        owner: pid of the process the server must not outlive.
        remove: what the guard removes when the owner dies.
    """

    def __init__(self, command: Sequence[str], folder: Path, owner: int, remove: Path) -> None:
        self.log = folder / "server.log"
        options = ["--owner", str(owner), "--log", str(self.log), "--remove", str(remove)]
        launched = subprocess.run(
            [sys.executable, "-I", "-S", str(GUARD), *options, "--", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if not launched.stdout:
            raise ServerUnavailable(f"cannot start {command[0]}: {launched.stderr.strip()}")
        pids = json.loads(launched.stdout)
        self.pid: int = pids["server"]
        self.guard_pid: int = pids["guard"]
        self._guard = os.pidfd_open(self.guard_pid)
        self._server = os.pidfd_open(self.pid)

    @property
    def running(self) -> bool:
        """Whether the server has not ended."""
        return self._server >= 0 and not _ended(self._server, 0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server; one that has ended is left in peace."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._server, number)

    def freeze(self) -> None:
        """Stop the server where it is (SIGSTOP); return when none of its threads runs any more."""
        self.send(signal.SIGSTOP)
        self.wait_until(lambda: _thread_states(self.pid) <= {"T"}, "a server that is to be frozen")

    def end(self, number: signal.Signals, timeout: float = 20.0) -> None:
        """End the server by a signal and wait for it and its guard; by SIGKILL when it takes more than `timeout` s."""
        if self._server < 0:
            return
        self.send(number)
        if number != signal.SIGKILL:
            self.send(signal.SIGCONT)
        if not _ended(self._server, timeout):
            self.send(signal.SIGKILL)
        _ended(self._server, timeout)
        _ended(self._guard, timeout)
        os.close(self._server)
        os.close(self._guard)
        self._server = self._guard = -1

    def tail(self, lines: int = 15) -> str:
        """Return the end of the server's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Wait until the server is ready; `ServerUnavailable` with its log's end when it ended or took too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise ServerUnavailable(f"{what} ended while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"{what} did not start within {timeout:.0f} s:\n{self.tail()}")
            time.sleep(0.02)


def _thread_states(pid: int) -> set[str]:
    """Return the states that the threads of a process are in, as `ps` names them."""
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


def _ended(handle: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(timeout * 1000))


def free_port() -> int:
    """Choose a TCP port of 127.0.0.1 that no process listens on, outside the range the kernel gives to clients.

    A port of the client range could be taken by any outgoing connection before the server binds it, or while the server
    is down for a restart on the same port.
    """
    while True:
        port = _PORTS.randrange(10_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def listening(port: int) -> bool:
    """Say whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
