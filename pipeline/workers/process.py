"""The inside of one worker process of `runstep run --workers N`: a pipeline without endpoints.

The supervisor starts the process and talks to it over one socket pair. First it sends an `Order`; nothing of it is in
arguments or environment. Then it sends requests: `READ` lets it read, which it does not before, a number asks for a
report, `STACKS` for the stacks in the log, `STOP` for the end. The worker sends each report with the number it answers,
a last one at its end, and text that says why it failed. When the supervisor is gone the pipe ends, and the worker
drains and ends by itself.

A thread of its own answers, so that a stalled loop can be distinguished from a stalled process.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, TypedDict

import structlog
from prometheus_client import CollectorRegistry

from pipeline import logs
from pipeline.config import Settings
from pipeline.daemon.app import Pipeline
from pipeline.daemon.signals import apart, following, log_stacks
from pipeline.endpoints.status import ProcessStatus
from pipeline.errors import RunstepError
from pipeline.redaction import redact

log = structlog.get_logger(__name__)

READ: Final = "read"
"""The request to read: all workers have their shares of the partitions."""

STOP: Final = "stop"
"""The request to drain and end."""

STACKS: Final = "stacks"
"""The request to log the stack of every thread."""

LAST: Final = 0
"""The number of the last report, which no request asks for."""

END_TIMEOUT_S: Final = 10.0
"""Seconds beyond `drain_timeout` for a commit in flight, for leaving the group and for closing connections."""

_PR_SET_PDEATHSIG: Final = 1
_MAX_FAILURE_CHARS: Final = 500


class Order(NamedTuple):
    """What a worker is to be."""

    name: str
    """The number of the worker; its next process has the same."""
    worker_id: str
    """The name that it has in the group where `kafka.group_instance_id` is not set."""
    settings: Settings
    load: Callable[[], Settings] | None
    """Reads the settings again; it can be pickled."""


class WorkerReport(TypedDict):
    """State of a worker: what its own endpoints would answer, and where it is in the group."""

    generation: int | None
    alive: str | None
    status: ProcessStatus
    metrics: dict[str, Any]


class Worker:
    """A pipeline that answers its supervisor. `run` is for the main thread."""

    def __init__(self, connection: Connection, order: Order) -> None:
        self._connection = connection
        self._pipeline = Pipeline(order.settings, CollectorRegistry(), order.load, order.worker_id)
        self._pipeline.hold()
        self._stop_timeout = order.settings.drain_timeout + END_TIMEOUT_S
        self._sending = threading.Lock()
        self._stopped = False

    def run(self) -> None:
        """Run until asked to stop, or until the supervisor is gone; drain, and send the last report."""
        self._set_handlers()
        threading.Thread(target=self._answer, name="runstep-worker", daemon=True).start()
        signals = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
        with following({**dict.fromkeys(signals, lambda _: self.stop()), signal.SIGUSR1: lambda _: apart(log_stacks)}):
            try:
                self._pipeline.run()
            finally:
                self._report(LAST)

    def stop(self) -> None:
        """Drain; the kernel ends the process if that takes too long. From any thread, and from a signal handler."""
        if not self._stopped:
            self._stopped = True
            # If it hangs by then, no supervisor may be left to end it.
            signal.setitimer(signal.ITIMER_REAL, self._stop_timeout)
        self._pipeline.stop()

    def _set_handlers(self) -> None:
        # Ctrl-C reaches the supervisor, which says what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if sys.platform == "linux":
            # The end of the pipe says the same; the signal works even if the thread that reads the pipe has ended.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _answer(self) -> None:
        while requests := self._next():
            for request in requests:
                if request == STOP:
                    self.stop()
                elif request == READ:
                    self._pipeline.release()
                elif request == STACKS:
                    log_stacks()
                else:
                    self._report(request)
        self.stop()

    def _next(self) -> list[Any]:
        """Return the next requests, of reports the last one: it answers all before. None: the supervisor is gone."""
        try:
            requests = [self._connection.recv()]
            while self._connection.poll():
                requests.append(self._connection.recv())
        except (EOFError, OSError):
            return []
        reports = [request for request in requests if isinstance(request, int)]
        return [request for request in requests if not isinstance(request, int)] + reports[-1:]

    def _report(self, number: int) -> None:
        pipeline = self._pipeline
        try:
            report = WorkerReport(
                generation=pipeline.generation(),
                alive=pipeline.alive(),
                status=pipeline.status(),
                metrics=pipeline.metrics.snapshot(),
            )
        except Exception:
            # The next request comes in a second; a thread that ended would look like a stalled process.
            log.exception("report_failed", message="the supervisor gets no report this time")
            return
        with self._sending, suppress(OSError):
            self._connection.send((number, report))


def main() -> int:
    """Be the worker that the process at the other end of the pipe asks for; return the exit code."""
    connection = Connection(int(sys.argv[1]))
    try:
        order: Order = connection.recv()
    except (EOFError, OSError):
        return os.EX_OK
    logs.configure(order.settings.log, worker=order.name)
    try:
        Worker(connection, order).run()
    except Exception as error:
        log.debug("worker_failed", exc_info=error)
        with suppress(OSError):
            connection.send(_in_words(error))
        return error.exit_code if isinstance(error, RunstepError) else os.EX_SOFTWARE
    return os.EX_OK


def _in_words(error: Exception) -> str:
    kind = "" if isinstance(error, RunstepError) else f"{type(error).__name__}: "
    return redact(" ".join(f"{kind}{error}".split()))[:_MAX_FAILURE_CHARS]


if __name__ == "__main__":
    sys.exit(main())
