"""`runstep run`: the daemon.

Owns the signals: the first SIGTERM, SIGINT, SIGQUIT or SIGHUP drains, a second one ends the process at once. That is
safe at any moment: what is not committed is read again by the next owner. SIGUSR1 logs the stack of every thread.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final

import structlog
import typer

from pipeline.commands import _exit_codes
from pipeline.commands._settings import config_file, settings_from_context
from pipeline.config import load
from pipeline.daemon.app import Service
from pipeline.daemon.signals import ENDING, apart, following, log_stacks
from pipeline.workers.supervisor import Supervisor

log = structlog.get_logger(__name__)

MAX_WORKERS: Final = 64


@contextmanager
def stopping(
    stop: Callable[[], None], abandon: Callable[[], None] = lambda: None, show_stacks: Callable[[], None] = log_stacks
) -> Iterator[None]:
    """Call `stop` at the first signal that ends, end the process at the second; the old handlers come back.

    A second SIGHUP changes nothing: a terminal that is closed sends it twice, itself and through its shell.

    Args:
        stop: asks for a clean end.
        abandon: what else must end with the process, at once.
        show_stacks: logs the stacks, at SIGUSR1.
    """
    asked = False

    def end(number: signal.Signals) -> None:
        nonlocal asked
        if not asked:
            asked = True
            apart(drain, number.name)
        elif number is not signal.SIGHUP:
            abandon()
            os._exit(_exit_codes.INTERRUPTED)

    def drain(name: str) -> None:
        log.info("draining", message="a second signal ends the process at once", signal=name)
        stop()

    with following({**dict.fromkeys(ENDING, end), signal.SIGUSR1: lambda _: apart(show_stacks)}):
        yield


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
    SIGTERM, Ctrl-C, SIGQUIT or SIGHUP drains: what was read is written and committed, within `drain_timeout`. A second
    one ends at once. SIGUSR1 logs the stack of every thread, of all workers too, and the daemon goes on.

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
        with stopping(supervisor.stop, supervisor.kill, supervisor.log_stacks):
            supervisor.run()
        return
    service = Service(settings, load_again)
    with stopping(service.stop):
        service.run()
