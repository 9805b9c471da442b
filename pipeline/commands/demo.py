"""`runstep demo`: the whole pipeline on one machine, with nothing installed but this package and its extra."""

import importlib.util
import logging
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr
from rich.console import Console

from pipeline import logs
from pipeline.clickhouse.connection import connect
from pipeline.clickhouse.migrations import migrate
from pipeline.commands import _exit_codes
from pipeline.commands.simulate import interruptible
from pipeline.config import (
    BatchSettings,
    ClickHouseSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    Settings,
)
from pipeline.errors import ConfigError, ServiceUnavailable
from pipeline.kafka.topics import create_topics
from pipeline.tools.demo.account import take_account
from pipeline.tools.demo.daemon_process import DaemonThread
from pipeline.tools.demo.directory import data_directory
from pipeline.tools.demo.embedded_broker import embedded_broker
from pipeline.tools.demo.page import write_page
from pipeline.tools.demo.production import TrafficProcess
from pipeline.tools.demo.progress import Screen
from pipeline.tools.demo.summary import print_account, print_report
from pipeline.tools.html_report import need_library
from pipeline.tools.simulation import Traffic

_TOPIC: Final = "run-steps"
_PARTITIONS: Final = 4
_PORT: Final = 9464
_REFRESH: Final = 0.15
_PATIENCE: Final = 30.0
_TRICKLE: Final = 25.0
_PLAIN_WIDTH: Final = 120


def demo(
    *,
    events: Annotated[int, typer.Option(min=1, help="Events to produce.")] = 60_000,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds after which to stop producing.")] = 40.0,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with a trickle of events until Ctrl-C.")] = False,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where to keep the data.")] = Path("runstep-demo"),
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of /metrics; 9464 or a free one.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same traffic.")] = 1,
) -> None:
    """See it all work: an embedded Kafka broker and ClickHouse, realistic traffic, the real daemon, a report.

    Nothing leaves this machine. The data stay in --data, for `runstep query --data DIR`, and beside them a page that
    shows them, report.html.
    """
    _require_clickhouse()
    need_library()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    with data_directory(data) as moved, embedded_broker() as broker, interruptible() as stop:
        if moved:
            console.print(f"The data of an earlier demo are now in {data}.previous")
        settings = _settings(broker, data, port)
        with (data / "runstep.log").open("w") as log:
            logs.configure(settings.log, stream=log)
            try:
                balanced = _Demo(settings, console, stop, data, seconds).run(Traffic(seed=seed), events, keep=keep)
            finally:
                logs.configure(settings.log, kafka_level=logging.CRITICAL)
    _print_farewell(console, data)
    if not balanced:
        raise typer.Exit(_exit_codes.FINDINGS)


class _Demo:
    """One demo: the parts, in the order in which they start and end."""

    def __init__(self, settings: Settings, console: Console, stop: threading.Event, data: Path, seconds: float) -> None:
        self._settings = settings
        self._console = console
        self._stop = stop
        self._data = data
        self._seconds = seconds

    def run(self, traffic: Traffic, events: int, *, keep: bool) -> bool:
        """Run it to its end; return whether the account adds up."""
        began = time.monotonic()
        client: Any = connect(self._settings.clickhouse)
        migrate(client, self._settings.clickhouse)
        create_topics(self._settings, _PARTITIONS)
        producer = TrafficProcess(self._settings.kafka, traffic, events)
        daemon = DaemonThread(self._settings)
        try:
            client.database = self._settings.clickhouse.database
            self._watch(producer, daemon, events)
            balanced = self._report(client, time.monotonic() - began)
            self._print_addresses(daemon, keep=keep)
            if keep and not self._stop.is_set():
                self._trickle(daemon, traffic)
                balanced = self._report(client, time.monotonic() - began)
        finally:
            producer.stop()
            daemon.stop()
            client.close()
        return balanced

    def _watch(self, producer: TrafficProcess, daemon: DaemonThread, events: int) -> None:
        """Show how it goes until everything produced is accounted for."""
        screen = Screen(self._console, events)
        deadline = time.monotonic() + self._seconds
        with screen.shown():
            while producer.sent is None:
                self._look(producer, daemon, screen)
                if self._stop.wait(_REFRESH) or time.monotonic() > deadline:
                    producer.stop()
            self._catch_up(producer, daemon, screen)

    def _catch_up(self, producer: TrafficProcess, daemon: DaemonThread, screen: Screen) -> None:
        seen, since = -1, time.monotonic()
        while (accounted := daemon.numbers().accounted) < producer.acknowledged:
            self._look(producer, daemon, screen)
            if accounted > seen:
                seen, since = accounted, time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                causes = "; ".join(daemon.causes()) or "it does not say why"
                raise ServiceUnavailable(f"the pipeline has read nothing for {_PATIENCE:.0f} s: {causes}")
            time.sleep(_REFRESH)
        self._look(producer, daemon, screen)

    def _look(self, producer: TrafficProcess, daemon: DaemonThread, screen: Screen) -> None:
        if daemon.failure is not None:
            raise daemon.failure
        producer.listen()
        screen.update(producer.acknowledged, daemon.numbers())

    def _report(self, client: Any, seconds: float) -> bool:
        print_report(self._console, client)
        account = take_account(self._settings, client)
        print_account(self._console, account)
        self._console.print(f"{account.read:,} events in {seconds:.1f} s, from an empty disk to this report.")
        page = write_page(self._settings.clickhouse, client, self._data)
        self._console.print(f"The same as a page for the browser: {page}", soft_wrap=True)
        return not account.faults()

    def _print_addresses(self, daemon: DaemonThread, *, keep: bool) -> None:
        host, port = daemon.address
        broker = self._settings.kafka.bootstrap_servers[0]
        say = partial(self._console.print, soft_wrap=True)
        say("\nRunning here:" if keep else "\nIt ran here (--keep leaves it running):")
        say(f"  metrics     http://{host}:{port}/metrics, beside it /healthz /readyz /status")
        say(f"  Kafka       {broker}, topics {_TOPIC} and {self._settings.dead_letter_topic}")
        say(f"  ClickHouse  {self._settings.clickhouse.url.get_secret_value()} (embedded: one process at a time)")

    def _trickle(self, daemon: DaemonThread, traffic: Traffic) -> None:
        """Go on with a little traffic, so that there is something to see, until Ctrl-C."""
        self._console.print(f"Going on with {_TRICKLE:.0f} events a second; Ctrl-C ends it.")
        later = Traffic(seed=traffic.seed + 1)
        producer = TrafficProcess(self._settings.kafka, later, None, _TRICKLE)
        already = daemon.numbers().accounted
        try:
            while not self._stop.wait(_REFRESH):
                producer.listen()
                if daemon.failure is not None:
                    raise daemon.failure
        finally:
            producer.stop()
        deadline = time.monotonic() + _PATIENCE
        while daemon.numbers().accounted < already + producer.acknowledged and time.monotonic() < deadline:
            time.sleep(_REFRESH)


def _require_clickhouse() -> None:
    if importlib.util.find_spec("chdb") is None:
        raise ConfigError("the embedded ClickHouse is not installed; install it with: pip install 'runstep[demo]'")


def _settings(broker: str, data: Path, port: int | None) -> Settings:
    """Return the settings of the demo alone: what is set for the real pipeline must not lead it anywhere else."""
    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers=(broker,),
            topics=(_TOPIC,),
            group_id="runstep-demo",
            # The embedded broker keeps whoever joins a group waiting for half of the session timeout.
            session_timeout=6.0,
            heartbeat_interval=1.0,
        ),
        clickhouse=ClickHouseSettings(url=SecretStr(f"chdb:{data.absolute() / 'clickhouse'}")),
        # Small batches: there is more to see.
        batch=BatchSettings(max_rows=10_000, max_age=0.5),
        http=HttpSettings(bind=f"127.0.0.1:{_free(port)}"),
        log=LogSettings(),
    )


def _free(port: int | None) -> int:
    """Return the port asked for, or the usual one unless it is taken."""
    if port is not None:
        return port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _PORT))
        except OSError:
            return 0
    return _PORT


def _print_farewell(console: Console, data: Path) -> None:
    console.print()
    console.print(f"The data stay in {data}; ask them:", soft_wrap=True)
    examples = ('"SELECT type, count() FROM run_steps_current GROUP BY type"', "--report tools", "--list")
    for example in examples:
        console.print(f"  runstep query --data {data} {example}", soft_wrap=True)
