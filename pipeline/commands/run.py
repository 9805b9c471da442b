"""`runstep run`: the daemon.

Owns the signals: the first SIGTERM or SIGINT drains, the second ends the process at once. That is safe at any moment:
what is not committed is read again by the next owner.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Annotated, Final

import structlog
import typer

from pipeline.commands import _exit_codes
from pipeline.commands._settings import config_file, settings_from_context
from pipeline.config import load
from pipeline.daemon.app import Service
from pipeline.workers.supervisor import Supervisor

log = structlog.get_logger(__name__)

MAX_WORKERS: Final = 64


@contextmanager
def stopping(stop: Callable[[], None], abandon: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Call `stop` at the first SIGTERM or SIGINT, end the process at the second; the old handlers come back.

    `stop` runs on a thread of its own: a handler interrupts code that may hold the very lock that `stop`, or logging,
    would wait for.

    Args:
        stop: asks for a clean end.
        abandon: what else must end with the process, at once.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            abandon()
            os._exit(_exit_codes.INTERRUPTED)
        asked = True
        threading.Thread(target=drain, args=(signal.Signals(number).name,), name="runstep-stop", daemon=True).start()

    def drain(name: str) -> None:
        log.info("draining", message="a second signal ends the process at once", signal=name)
        stop()

    old = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def run(
    workers: Annotated[
        int,
        typer.Option(
            "--workers", "-w", min=1, max=MAX_WORKERS, metavar="N", help="Processes that share the partitions."
        ),
    ] = 1,
) -> None:
    """Run the daemon: Kafka in, ClickHouse and Prometheus out.

    It also starts while Kafka or ClickHouse is away, waits, and recovers by itself; /readyz names what is missing.
    SIGTERM or Ctrl-C drains: what was read is written and committed, within `drain_timeout`. A second one ends at once.

    One process uses one core. `--workers N` runs N of them behind one address: counters are their sums, gauges have a
    label `worker`, and a worker that dies is restarted. More workers than the topics have partitions are of no use.

    A secret that is rotated in its file is read again when a login with the old one fails; no restart is needed.

    Settings come from runstep.toml, the environment (RUNSTEP_KAFKA__BOOTSTRAP_SERVERS, ...) and secret files; see
    `runstep config`. Exit codes: 0 drained, 70 a bug of runstep, 78 a setting is wrong.
    """
    settings = settings_from_context()
    load_again = partial(load, config_file.get())
    if workers > 1:
        supervisor = Supervisor(settings, workers, load_again)
        with stopping(supervisor.stop, abandon=supervisor.kill):
            supervisor.run()
        return
    service = Service(settings, load_again)
    with stopping(service.stop):
        service.run()
