"""`runstep run`: the daemon.

Owns the signals: the first SIGTERM or SIGINT drains, the second ends the process at once. That is safe at any moment:
what is not committed is read again by the next owner.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from pipeline.app import Daemon
from pipeline.commands import exits
from pipeline.commands.context import settings_from_context

log = structlog.get_logger(__name__)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGTERM or SIGINT, end the process at the second; the old handlers come back."""
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(exits.INTERRUPTED)
        asked = True
        log.info("draining", signal=signal.Signals(number).name, again="ends at once")
        stop()

    old = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def run() -> None:
    """Run the daemon: Kafka in, ClickHouse and Prometheus out.

    It starts and waits when a service is away, and goes on by itself when it is back; /readyz names what is missing.
    SIGTERM or Ctrl-C drains: what was read is written and committed, within `drain_timeout`. A second one ends at once.

    Settings come from runstep.toml, the environment (RUNSTEP_KAFKA__BOOTSTRAP_SERVERS, ...) and secret files; see
    `runstep config`. Exit codes: 0 drained, 70 a fault of ours, 78 a setting is wrong.
    """
    daemon = Daemon(settings_from_context())
    with stopping(daemon.stop):
        daemon.run()
