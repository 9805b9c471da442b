"""What is compared: how each system is started, kept, killed and ended, and what its tables hold."""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.peers import engine, environments
from tests.benchmarks.peers.gauges import family
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.process import free_port
from tests.support.paths import ROOT

RESTART_S: Final = 1.0
"""Seconds after which a process that ended by itself is started again, as an orchestrator does."""
BATCH_ROWS: Final = 50_000


@dataclass(frozen=True)
class Place:
    """Where a system works. The database is its own, and names its consumer group too."""

    bootstrap: str
    server: ClickHouseServer
    topic: str
    database: str


@dataclass(frozen=True)
class Tables:
    """Where to look: rows by offset, of which those are good that fulfil `stored`, and steps by their ids.

    `rows` is read with FINAL where `final` says so: there a repeated row replaces itself.
    """

    rows: str
    steps: str
    final: bool = False
    stored: str = "true"


class System(ABC):
    """One system at one place. `members` is the number of members of its group."""

    members = 1
    tables: Tables

    def __init__(self, place: Place) -> None:
        self.place = place
        self.restarts = 0

    def prepare(self) -> None:
        """Make its tables, as far as it does not make them itself."""
        self.place.server.query(f"CREATE DATABASE {self.place.database}")

    @abstractmethod
    def start(self) -> None:
        """Start it; from here on it reads."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it (SIGKILL) and start it again at once."""

    @abstractmethod
    def end(self) -> None:
        """End it."""

    def keep(self) -> None:  # noqa: B027 - what lives in the server has nothing to do here
        """Start it again if it ended by itself."""

    def pids(self) -> Sequence[int]:
        """Return its processes beside the servers."""
        return ()


class Program(System):
    """A system that is a process beside the servers."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.log = place.server.folder / f"{place.database}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_at: float | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return its command line."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return its settings, as variables."""

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command()), cwd=ROOT, env=os.environ | self.environment(), stdout=log, stderr=log
            )

    def kill(self) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._launched().wait()
        self.start()

    def end(self) -> None:
        process = self._launched()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def keep(self) -> None:
        if self._launched().poll() is None:
            self._ended_at = None
        elif self._ended_at is None:
            self._ended_at = time.monotonic()
        elif time.monotonic() - self._ended_at > RESTART_S:
            self._ended_at = None
            self.restarts += 1
            self.start()

    def pids(self) -> Sequence[int]:
        return family(self._launched().pid)

    def _launched(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.place.database} is not started")
        return self._process


class Runstep(Program):
    """The daemon with its default settings."""

    def __init__(self, place: Place, workers: int = 1) -> None:
        super().__init__(place)
        self.members = workers
        self._port = free_port()
        self.tables = _with_ledger(f"{place.database}.run_step_ledger", f"{place.database}.run_steps")

    def prepare(self) -> None:
        migrate = [sys.executable, "-m", "pipeline.cli", "migrate"]
        with self.log.open("ab") as log:
            subprocess.run(migrate, cwd=ROOT, env=os.environ | self.environment(), stdout=log, stderr=log, check=True)

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "pipeline.cli", "run", "--workers", str(self.members)]

    def environment(self) -> Mapping[str, str]:
        return {
            "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": self.place.bootstrap,
            "RUNSTEP_KAFKA__TOPICS": self.place.topic,
            "RUNSTEP_KAFKA__GROUP_ID": self.place.database,
            "RUNSTEP_CLICKHOUSE__URL": self.place.server.url,
            "RUNSTEP_CLICKHOUSE__DATABASE": self.place.database,
            "RUNSTEP_HTTP__BIND": f"127.0.0.1:{self._port}",
            "RUNSTEP_LOG__LEVEL": "warning",
        }


class Pipeline(Program):
    """A Python pipeline of one file that fills one table; `python` runs it."""

    def __init__(self, place: Place, module: str, python: Path = Path(sys.executable)) -> None:
        super().__init__(place)
        self._module, self._python = module, python
        self.tables = Tables(f"{place.database}.events", f"{place.database}.events")

    def command(self) -> Sequence[str | Path]:
        return [self._python, "-m", self._module]

    def environment(self) -> Mapping[str, str]:
        return {
            "NAIVE_KAFKA": self.place.bootstrap,
            "NAIVE_TOPIC": self.place.topic,
            "NAIVE_GROUP": self.place.database,
            "NAIVE_CLICKHOUSE": self.place.server.url,
            "NAIVE_TABLE": f"{self.place.database}.events",
            "NAIVE_BATCH": str(BATCH_ROWS),
            "NAIVE_MAX_AGE": "1",
        }


class Engine(System):
    """ClickHouse's Kafka engine: it lives and dies with the server."""

    members = engine.CONSUMERS

    def __init__(self, place: Place, statements: Callable[[str, str, str, str], Sequence[str]], tables: Tables) -> None:
        super().__init__(place)
        self._statements, self.tables = statements, tables

    def prepare(self) -> None:
        super().prepare()
        for statement in self._all()[:-1]:
            self.place.server.query(statement)

    def start(self) -> None:
        self.place.server.query(self._all()[-1])

    def kill(self) -> None:
        self.place.server.kill()
        self.place.server.start()

    def end(self) -> None:
        self.place.server.query(f"DROP TABLE {self.place.database}.queue SYNC")

    def _all(self) -> Sequence[str]:
        place = self.place
        return self._statements(place.database, place.bootstrap, place.topic, place.database)


def _plain_engine(place: Place) -> Engine:
    events = f"{place.database}.events"
    return Engine(place, engine.plain, Tables(events, events))


def _working_engine(place: Place) -> Engine:
    tables = _with_ledger(f"{place.database}.ledger", f"{place.database}.steps")
    return Engine(place, engine.same_work, tables)


def _with_ledger(ledger: str, steps: str) -> Tables:
    return Tables(ledger, steps, final=True, stored="outcome = 'stored'")


def _foreign(name: str) -> Callable[[Place], System]:
    module = f"tests.benchmarks.peers.{name}_pipeline"
    return lambda place: Pipeline(place, module, environments.python(name))


SYSTEMS: Final[Mapping[str, Callable[[Place], System]]] = {
    "runstep-1": Runstep,
    "runstep-2": lambda place: Runstep(place, workers=2),
    "engine": _plain_engine,
    "engine-same-work": _working_engine,
    "naive": lambda place: Pipeline(place, "tests.benchmarks.naive"),
    "quix": _foreign("quix"),
    "arroyo": _foreign("arroyo"),
}
TITLES: Final[Mapping[str, str]] = {
    "runstep-1": "`runstep run`",
    "runstep-2": "`runstep run --workers 2`",
    "engine": "Kafka engine, one typed table",
    "engine-same-work": "Kafka engine, checked JSON, current state, ledger",
    "naive": "naive Python pipeline",
    "quix": "Quix Streams",
    "arroyo": "arroyo",
}
NOT_MEASURED: Final[Mapping[str, str]] = {
    "OpenTelemetry Collector": "no package holds the program; it is built from Go modules, which needs a Go toolchain",
    "Vector, Redpanda Connect, clickhouse_sinker, Kafka Connect with the ClickHouse sink": "not in a package registry",
}
