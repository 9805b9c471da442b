"""The signals of a process, brought to a thread of their own.

Owns how a signal is noticed. A handler in Python runs on the main thread, between two of its steps: that thread may
hold the very lock that logging would wait for, and one that hangs in a library runs no handler at all. So the handlers
do nothing; the interpreter writes each signal's number to a socket as it comes, and a thread reads it there.
"""

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import structlog

from pipeline.daemon.watchdog import stacks

log = structlog.get_logger(__name__)

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""Signals that ask for a clean end."""

Action: TypeAlias = Callable[[signal.Signals], None]


@contextmanager
def following(actions: Mapping[signal.Signals, Action]) -> Iterator[None]:
    """Call the action of each signal that comes, in order and on one thread; the old handlers come back at the end.

    For the main thread. A SIGHUP that is ignored already, as under `nohup`, stays ignored.

    Args:
        actions: none of them may block; see `apart`.
    """
    near, far = socket.socketpair()
    far.settimeout(0)
    old_wakeup = signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(near, actions), name="runstep-signals", daemon=True).start()
    old = {number: signal.signal(number, _noticed) for number in actions if not _is_left_alone(number)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_wakeup)
        far.close()


def apart(action: Callable[..., None], *arguments: object) -> None:
    """Run something that may block on a thread of its own, so that the next signal is noticed."""
    threading.Thread(target=action, args=arguments, name="runstep-signal", daemon=True).start()


def log_stacks() -> None:
    """Log the stack of every thread of this process."""
    log.warning("stacks_logged", message="a signal asked for the stack of every thread", stacks=stacks())


def _listen(near: socket.socket, actions: Mapping[signal.Signals, Action]) -> None:
    with near:
        while numbers := near.recv(64):
            for number in numbers:
                # Others have handlers of their own, which the interpreter calls as ever.
                if number in actions:
                    actions[signal.Signals(number)](signal.Signals(number))


def _noticed(_number: int, _frame: object) -> None:
    """Do nothing: a signal without a handler in Python would not be written to the socket."""


def _is_left_alone(number: signal.Signals) -> bool:
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
