"""One worker process as its supervisor sees it: started, asked for reports, stopped, killed.

The supervisor never waits for a process: its reports arrive on a thread here, and requests are so few that the pipe
takes them even if the process does not read. A worker that is stopped, stalled or slow delays nothing else.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

import structlog

from pipeline.workers.process import LAST, READ, STACKS, STOP, Order, WorkerReport

log = structlog.get_logger(__name__)

_MAX_UNANSWERED: Final = 16
"""Requests in the pipe; so few that sending one never blocks."""

_ANSWER_TIMEOUT_S: Final = 3.0
"""Seconds without an answer after which a scrape no longer waits for this worker."""

_EXIT_TIMEOUT_S: Final = 5.0
"""Seconds from the end of the pipe to the end of the process, before it is killed."""


class Child:
    """One process of one worker.

    Attributes:
        name: of the worker; its next process has the same.
        started_at: monotonic seconds.
        report: the last one that came.
        failure: why the process failed, in its own words.
    """

    def __init__(self, order: Order, heard: Callable[[], None], parted: Callable[[], None]) -> None:
        """Start the process.

        Args:
            order: goes through the pipe, never into arguments or the environment.
            heard: called after each report, on this child's thread.
            parted: called when no further report can come, on this child's thread.

        Raises:
            OSError: the host starts no more processes.
        """
        self.name = order.name
        self.started_at = time.monotonic()
        self.report: WorkerReport | None = None
        self.failure = ""
        self._heard, self._parted = heard, parted
        self._asked = self._answered = LAST
        self._answered_at = self.started_at
        self._parted_at: float | None = None
        self._sending = threading.Lock()
        self._process, self._connection = _launch()
        self._send(order)
        self._listening = threading.Thread(target=self._listen, name=f"runstep-worker-{self.name}", daemon=True)
        self._listening.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self) -> int:
        """Ask for a report and return the number that answers it; for any thread."""
        with self._sending:
            if self._asked - self._answered < _MAX_UNANSWERED:
                self._asked += 1
                self._send(self._asked)
            return self._asked

    def has_answered(self, number: int) -> bool:
        """Return whether the report of this number, or a later one, is there."""
        return self._answered >= number

    def silent_for(self) -> float:
        """Return for how many seconds nothing has come, since the start or the last report."""
        return time.monotonic() - self._answered_at

    def is_responsive(self) -> bool:
        """Return whether an answer may be expected soon: not of a process that is just starting, or is stalled."""
        return self.report is not None and self._parted_at is None and self.silent_for() < _ANSWER_TIMEOUT_S

    def let_read(self) -> None:
        """Let it read; asked once in the life of a process, so that the pipe takes it."""
        with self._sending:
            self._send(READ)

    def log_stacks(self) -> None:
        """Let it log the stack of every thread: by the pipe, since a signal would end a process that just starts."""
        with self._sending:
            if self._asked - self._answered < _MAX_UNANSWERED:
                self._send(STACKS)

    def stop(self) -> None:
        """Ask for a clean end."""
        with self._sending:
            self._send(STOP)

    def kill(self) -> None:
        """End it at once; from any thread, and from a signal handler. What is not committed is read again."""
        self._process.kill()

    def poll(self) -> int | None:
        """Return the exit code once the process has ended (negative: the signal), None before."""
        code = self._process.poll()
        if code is None and self._parted_at is not None and time.monotonic() - self._parted_at > _EXIT_TIMEOUT_S:
            log.warning(
                "worker_killed", message="the worker hangs at its end and is killed", worker=self.name, pid=self.pid
            )
            self.kill()
        return code

    def close(self) -> None:
        """Read what an ended process sent last."""
        self._process.wait()
        self._listening.join()
        with self._sending:
            # A scrape may be asking right now, and the descriptor's number may soon be another worker's.
            self._connection.close()

    def _send(self, message: Any) -> None:
        # A process that is gone is noticed by its exit code, not by its pipe.
        with suppress(OSError):
            self._connection.send(message)

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._take(self._connection.recv())
        self._parted_at = time.monotonic()
        self._parted()

    def _take(self, message: Any) -> None:
        if isinstance(message, str):
            self.failure = message
            return
        number, self.report = message
        self._answered = max(self._answered, number)
        self._answered_at = time.monotonic()
        self._heard()


def ending(code: int) -> str:
    """Return an exit code in words."""
    return f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"


def _launch() -> tuple[subprocess.Popen[bytes], Connection]:
    near, far = socket.socketpair()
    with near, far:
        process = subprocess.Popen(  # noqa: S603 - a module of this package
            # -P: a folder `pipeline` in the current directory must not be imported.
            [sys.executable, "-P", "-m", "pipeline.workers.process", str(far.fileno())],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(os.getcwd()) for path in sys.path)},  # noqa: PTH109
            stdin=subprocess.DEVNULL,
            pass_fds=(far.fileno(),),
            # A terminal's Ctrl-C goes to a whole process group, and how to end is for the supervisor to say.
            process_group=0,
        )
        return process, Connection(near.detach())
