"""The watchdog: sees that a thread makes no progress, and says where every thread of the process stands.

Owns what counts as stuck, for /healthz and for the log. It touches nothing of what it watches, and ends nothing: that
is up to who asks /healthz. The verdict is made when it is asked for, by the thread that asks, so it is right also when
the watchdog's own thread is held up, by a log that nobody reads for instance.
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

LOOK_INTERVAL: Final = 1.0
"""Seconds between looks."""

STOOD_STILL: Final = 5.0
"""Seconds from one look to the next after which the whole process stood still (SIGSTOP, a frozen machine)."""

JOIN: Final = 2.0


class Watched(NamedTuple):
    """A thread that has to show signs of life."""

    name: str
    """As messages call it."""
    last_heartbeat: Callable[[], float]
    """Returns the monotonic seconds of the last sign of life."""
    patience: float
    """Seconds of silence after which it counts as stuck."""
    failure: Callable[[], BaseException | None] = lambda: None
    """Returns what ended the thread, if anything did."""


class Watchdog:
    """Watches threads from `start` to `close`; `cause` may be asked by any thread."""

    def __init__(self, clock: Clock, watched: Sequence[Watched]) -> None:
        self._clock = clock
        self._watched = watched
        self._closed = threading.Event()
        self._stuck: dict[str, float] = {}
        self._looked_at = clock.monotonic()
        self._thread = threading.Thread(target=self._watch, name="runstep-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to tell the log of threads that are stuck."""
        self._thread.start()

    def close(self) -> None:
        """End; what was watched may come to rest now, and nothing counts as stuck any more."""
        self._closed.set()
        self._thread.join(JOIN)

    def cause(self) -> str | None:
        """Return what makes no progress, and for how long; None while everything moves."""
        if self._closed.is_set():
            return None
        now = self._clock.monotonic()
        return "; ".join(cause for watched in self._watched if (cause := _cause(watched, now))) or None

    def look(self) -> None:
        """Tell the log what is stuck, once a stall and with all stacks, and what moves again."""
        now, looked_at = self._clock.monotonic(), self._looked_at
        self._looked_at = now
        if now - looked_at > STOOD_STILL:
            return  # the others need a moment, too
        for watched in self._watched:
            cause, since = _cause(watched, now), self._stuck.get(watched.name)
            if cause is not None and since is None:
                self._stuck[watched.name] = watched.last_heartbeat()
                log.error("stuck", cause=cause, stacks=stacks())
            elif cause is None and since is not None:
                del self._stuck[watched.name]
                log.warning("moves again", what=watched.name, after_seconds=round(watched.last_heartbeat() - since, 1))

    def _watch(self) -> None:
        while not self._clock.wait(self._closed, LOOK_INTERVAL):
            self.look()


def stacks() -> Mapping[str, Sequence[str]]:
    """Return where each thread stands: name to lines `file:line function`, the innermost last.

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
    still = now - watched.last_heartbeat()
    return f"{watched.name} has made no progress for {still:.0f} s" if still > watched.patience else None
