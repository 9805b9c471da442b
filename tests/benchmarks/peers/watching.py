"""A system at work: which rows are visible when, and whether all of them are there."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka.admin import KafkaAdminClient

from tests.benchmarks.peers.gauges import joined
from tests.benchmarks.peers.systems import System
from tests.servers.addresses import ClickHouseRefused
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer

SAMPLE_S: Final = 0.1
JOIN_TIMEOUT_S: Final = 30.0


class Sample(NamedTuple):
    """How many rows were visible at a time of the monotonic clock."""

    at: float
    rows: int


class Account(NamedTuple):
    """What a system's tables hold: offsets, rows beyond one an offset, steps."""

    offsets: int
    doubled: int
    steps: int


class Stalled(RuntimeError):
    """A system made no progress any more."""


@dataclass(frozen=True)
class Bench:
    """The servers of a run, what they cost without work (CPU seconds a second), and when a system has stalled."""

    kafka: KafkaServer
    server: ClickHouseServer
    stall: float
    idle_server: float = 0.0
    idle_broker: float = 0.0


def wait_until_joined(system: System, kafka: KafkaServer) -> None:
    """Return when the group has all its members, or rows have come."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    until = time.monotonic() + JOIN_TIMEOUT_S
    try:
        while time.monotonic() < until and joined(admin, system.place.database) < system.members:
            if visible(system):
                break
            time.sleep(0.02)
    finally:
        admin.close()


@contextmanager
def at_work(system: System) -> Iterator[None]:
    """Run a system on tables of its own; both are gone afterwards."""
    system.prepare()
    system.start()
    try:
        yield
    finally:
        system.end()
        system.place.server.query(f"DROP DATABASE {system.place.database} SYNC")


def visible(system: System) -> int | None:
    """Return how many rows a reader sees, None while the server cannot be asked."""
    try:
        return int(system.place.server.query(f"SELECT count() FROM {system.tables.rows}"))  # noqa: S608 - own names
    except ClickHouseRefused:
        return 0  # the table is not made yet
    except OSError:
        return None


def account(system: System) -> Account:
    """Return what the tables hold, as a reader sees it."""
    tables, query = system.tables, system.place.server.query
    final = " FINAL" if tables.final else ""
    offsets = f"SELECT uniqExact(kafka_partition, kafka_offset), count() FROM {tables.rows}{final}"  # noqa: S608
    found, rows = map(int, query(offsets).split())
    steps = query(f"SELECT uniqExact(thread_id, run_id, step_id) FROM {tables.steps}")  # noqa: S608 - own names
    return Account(found, rows - found, int(steps))


def watch(system: System, events: int, stall: float) -> Sequence[Sample]:
    """Return a sample each time the number of rows has changed, until there is one an event.

    Raises:
        Stalled: no row has come for `stall` seconds.
    """
    samples = [Sample(time.monotonic(), 0)]
    while samples[-1].rows < events:
        now = time.monotonic()
        rows = visible(system)
        if rows is not None and rows != samples[-1].rows:
            samples.append(Sample(now, rows))
        if now - samples[-1].at > stall:
            raise Stalled(f"no row came for {stall:.0f} s after {samples[-1].rows:,} rows")
        system.keep()
        time.sleep(SAMPLE_S)
    return samples
