"""The watchdog: detects a thread that makes no progress, and logs the stack of every thread of the process.

Owns what counts as stalled, for /healthz and for the log. It changes nothing of what it watches, and ends nothing: that
is up to the caller of /healthz. The verdict is computed when it is asked for, by the calling thread, so it is right
even when the watchdog's own thread is blocked, for instance by a log pipe that no process reads.
"""

import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Final, NamedTuple

import structlog

from pipeline.contracts import Clock

log = structlog.get_logger(__name__)

LOOK_INTERVAL_S: Final = 1.0

PROCESS_STALLED_S: Final = 5.0
"""From one look to the next: after a longer time the whole process was stopped (SIGSTOP, a frozen machine)."""

JOIN_TIMEOUT_S: Final = 2.0


class Watched(NamedTuple):
    """A thread that has to show a heartbeat."""

    name: str
    """As messages call it."""
    last_heartbeat: Callable[[], float]
    """Returns the monotonic seconds of the last heartbeat."""
    timeout: float
    """Seconds without a heartbeat after which it counts as stalled."""
    failure: Callable[[], BaseException | None] = lambda: None
    """Returns what ended the thread, if anything did."""


class Watchdog:
    """Watches threads from `start` to `close`; `cause` may be asked by any thread."""

    def __init__(self, clock: Clock, watched: Sequence[Watched]) -> None:
        self._clock = clock
        self._watched = watched
        self._closed = threading.Event()
        self._stalled: dict[str, float] = {}
        self._looked_at = clock.monotonic()
        self._thread = threading.Thread(target=self._watch, name="runstep-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to log threads that are stalled."""
        self._thread.start()

    def close(self) -> None:
        """End; watched threads may end now, and none counts as stalled any more."""
        self._closed.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def cause(self) -> str | None:
        """Return what makes no progress, and for how long; None while every thread does."""
        if self._closed.is_set():
            return None
        now = self._clock.monotonic()
        return "; ".join(cause for watched in self._watched if (cause := _cause(watched, now))) or None

    def look(self) -> None:
        """Log each stall once, with all stacks, and each recovery."""
        now, looked_at = self._clock.monotonic(), self._looked_at
        self._looked_at = now
        if now - looked_at > PROCESS_STALLED_S:
            return  # the watched threads had no chance of a heartbeat either
        for watched in self._watched:
            cause, since = _cause(watched, now), self._stalled.get(watched.name)
            if cause is not None and since is None:
                self._stalled[watched.name] = watched.last_heartbeat()
                message = "a thread makes no progress; the stack of every thread follows"
                log.error("thread_stalled", message=message, cause=cause, stacks=stacks())
            elif cause is None and since is not None:
                del self._stalled[watched.name]
                seconds = round(watched.last_heartbeat() - since, 1)
                message = "the thread makes progress again"
                log.warning("thread_recovered", message=message, what=watched.name, after_seconds=seconds)

    def _watch(self) -> None:
        while not self._clock.wait(self._closed, LOOK_INTERVAL_S):
            self.look()


def stacks() -> Mapping[str, Sequence[str]]:
    """Return the stack of each thread: name to lines `file:line function`, the innermost last.

    Places in code only: no values, which could be records or secrets, and no source text, for which files would have to
    be read on a host whose file system may be what hangs.
    """
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to them
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {f"{names.get(ident, 'unknown')} {ident}": _places(frame) for ident, frame in frames.items()}


def _places(frame: FrameType) -> list[str]:
    walked = [
        f"{inner.f_code.co_filename}:{line} {inner.f_code.co_qualname}" for inner, line in traceback.walk_stack(frame)
    ]
    return walked[::-1]


def _cause(watched: Watched, now: float) -> str | None:
    failure = watched.failure()
    if failure is not None:
        return f"{watched.name} has ended: {type(failure).__name__}"
    silent = now - watched.last_heartbeat()
    return f"{watched.name} has made no progress for {silent:.0f} s" if silent > watched.timeout else None
