"""`runstep demo`: the whole pipeline on one machine; needs only this package and its extra `demo`."""

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
from pipeline.text import duration
from pipeline.tools.demo.daemon_process import DaemonThread
from pipeline.tools.demo.directory import data_directory
from pipeline.tools.demo.embedded_broker import embedded_broker
from pipeline.tools.demo.progress import Screen
from pipeline.tools.demo.reconciliation import reconcile
from pipeline.tools.demo.summary import print_reconciliation, print_report, write_demo_page
from pipeline.tools.demo.traffic_process import TrafficProcess
from pipeline.tools.html_report import require_libraries
from pipeline.tools.simulation import Traffic

_TOPIC: Final = "run-steps"
_PARTITIONS: Final = 4
_PORT: Final = 9464
_REFRESH_INTERVAL_S: Final = 0.15
_STALL_TIMEOUT_S: Final = 30.0
_TRICKLE_PER_S: Final = 25.0
_PLAIN_WIDTH: Final = 120


def demo(
    *,
    events: Annotated[int, typer.Option(min=1, help="Events to produce.")] = 60_000,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds after which to stop producing.")] = 40.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep running with 25 events a second until Ctrl-C.")] = False,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory for the data; that of an earlier demo becomes DIR.previous.")
    ] = Path("runstep-demo"),
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port of /metrics; by default 9464, or a free one if it is taken."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same traffic.")] = 1,
) -> None:
    """See it all work: an embedded Kafka broker and ClickHouse, realistic traffic, the real daemon, a report.

    The demo ignores your settings and connects to nothing outside this machine. It ends with the numbers of the tables
    and with a comparison of Kafka and the ledger. The data stay in --data for `runstep query --data DIR`, together with
    a page for the browser, report.html.

    Exit codes: 0 every record is accounted for, 1 one is not, 69 a part does not start or stalls, 78 something is not
    installed or --data cannot be used.
    """
    _require_clickhouse()
    require_libraries()
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
    """One demo: starts its parts, watches them, and ends them in reverse."""

    def __init__(self, settings: Settings, console: Console, stop: threading.Event, data: Path, seconds: float) -> None:
        self._settings = settings
        self._console = console
        self._stop = stop
        self._data = data
        self._seconds = seconds

    def run(self, traffic: Traffic, events: int, *, keep: bool) -> bool:
        """Run the demo to its end; return whether Kafka and the ledger agree."""
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
        """Show the progress until every record that was produced has an outcome."""
        screen = Screen(self._console, events)
        deadline = time.monotonic() + self._seconds
        with screen.shown():
            while producer.sent is None:
                self._look(producer, daemon, screen)
                if self._stop.wait(_REFRESH_INTERVAL_S) or time.monotonic() > deadline:
                    producer.stop()
            self._catch_up(producer, daemon, screen)

    def _catch_up(self, producer: TrafficProcess, daemon: DaemonThread, screen: Screen) -> None:
        seen, since = -1, time.monotonic()
        while (accounted := daemon.numbers().accounted) < producer.acknowledged:
            self._look(producer, daemon, screen)
            if accounted > seen:
                seen, since = accounted, time.monotonic()
            if time.monotonic() - since > _STALL_TIMEOUT_S:
                causes = "; ".join(daemon.causes()) or "no cause is known; see runstep.log in --data"
                raise ServiceUnavailable(f"the daemon has read nothing for {_STALL_TIMEOUT_S:.0f} s: {causes}")
            time.sleep(_REFRESH_INTERVAL_S)
        self._look(producer, daemon, screen)

    def _look(self, producer: TrafficProcess, daemon: DaemonThread, screen: Screen) -> None:
        if daemon.failure is not None:
            raise daemon.failure
        producer.listen()
        screen.update(producer.acknowledged, daemon.numbers())

    def _report(self, client: Any, seconds: float) -> bool:
        print_report(self._console, client)
        compared = reconcile(self._settings, client)
        print_reconciliation(self._console, compared)
        self._console.print(f"{compared.read:,} events in {duration(seconds)}, from an empty disk to this report.")
        page = write_demo_page(self._settings.clickhouse, client, self._data)
        self._console.print(f"The same as a page for the browser: {page}", soft_wrap=True)
        return not compared.faults()

    def _print_addresses(self, daemon: DaemonThread, *, keep: bool) -> None:
        host, port = daemon.address
        broker = self._settings.kafka.bootstrap_servers[0]
        say = partial(self._console.print, soft_wrap=True)
        say("\nRunning at:" if keep else "\nIt ran at (--keep leaves it running):")
        say(f"  metrics     http://{host}:{port}/metrics, beside it /healthz /readyz /status")
        say(f"  Kafka       {broker}, topics {_TOPIC} and {self._settings.dead_letter_topic}")
        say(f"  ClickHouse  {self._settings.clickhouse.url.get_secret_value()} (embedded: one process at a time)")

    def _trickle(self, daemon: DaemonThread, traffic: Traffic) -> None:
        """Produce a little traffic until Ctrl-C, so that the metrics move."""
        self._console.print(f"Producing {_TRICKLE_PER_S:.0f} events a second; Ctrl-C ends the demo.")
        later = Traffic(seed=traffic.seed + 1)
        producer = TrafficProcess(self._settings.kafka, later, None, _TRICKLE_PER_S)
        already = daemon.numbers().accounted
        try:
            while not self._stop.wait(_REFRESH_INTERVAL_S):
                producer.listen()
                if daemon.failure is not None:
                    raise daemon.failure
        finally:
            producer.stop()
        deadline = time.monotonic() + _STALL_TIMEOUT_S
        while daemon.numbers().accounted < already + producer.acknowledged and time.monotonic() < deadline:
            time.sleep(_REFRESH_INTERVAL_S)


def _require_clickhouse() -> None:
    if importlib.util.find_spec("chdb") is None:
        raise ConfigError("the embedded ClickHouse is not installed; run: pip install 'runstep[demo]'")


def _settings(broker: str, data: Path, port: int | None) -> Settings:
    """Return settings made for the demo; those of the real pipeline must not lead it to other servers."""
    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers=(broker,),
            topics=(_TOPIC,),
            group_id="runstep-demo",
            # A consumer that joins a group of the embedded broker waits for half of the session timeout.
            session_timeout=6.0,
            heartbeat_interval=1.0,
        ),
        clickhouse=ClickHouseSettings(url=SecretStr(f"chdb:{data.absolute() / 'clickhouse'}")),
        # Small batches, so that the numbers move often.
        batch=BatchSettings(max_rows=10_000, max_age=0.5),
        http=HttpSettings(bind=f"127.0.0.1:{_free(port)}"),
        log=LogSettings(),
    )


def _free(port: int | None) -> int:
    """Return the given port, else the default one, else 0 for any free port."""
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
    console.print(f"The data stay in {data}. To query them:", soft_wrap=True)
    examples = ('"SELECT type, count() FROM run_steps_current GROUP BY type"', "--report tools", "--list")
    for example in examples:
        console.print(f"  runstep query --data {data} {example}", soft_wrap=True)
