"""What one poison record, an outage of ClickHouse and a kill cost: lost, doubled, held back, and how long it stood.

Each under a steady load that goes on during the fault. A process that ends is started again, as an orchestrator does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from tests.benchmarks.peers.load import POISON_AT, Load
from tests.benchmarks.peers.systems import System
from tests.benchmarks.peers.traffic import PARTITIONS
from tests.benchmarks.peers.watching import SAMPLE_S, Bench, Sample, account, at_work, visible, wait_until_joined
from tests.support.group_offsets import group_offsets

Offsets = Mapping[int, set[int]]
"""Offsets by partition."""

POISON: Final = "poison"
OUTAGE: Final = "outage"
KILL: Final = "kill"
FAULTS: Final = (POISON, OUTAGE, KILL)
SETTLE_S: Final = 3.0
"""Seconds without a new row after which a system that has stored all is done."""


@dataclass(frozen=True)
class Force:
    """How large the trial is: events a second, seconds of load beside the outage, seconds of the outage."""

    rate: float
    seconds: float
    outage: float


@dataclass(frozen=True)
class Loss:
    """What a fault has cost a system."""

    system: str
    fault: str
    events: int
    lost: int
    """Good records that are committed and not there."""
    waiting: int
    """Good records that were neither stored nor committed when the system had stalled."""
    doubled: int
    stood: float
    """The longest time without a new row from the fault on, in seconds; with what an outage itself took."""
    restarts: int
    became: str = ""
    """What has become of the poison record."""


def trial(name: str, fault: str, system: System, bench: Bench, force: Force) -> Loss:
    """Put a system under load, do it harm, and look what has become of every record."""
    seconds = force.seconds + (force.outage if fault == OUTAGE else 0)
    poison: tuple[int, int] | None = None
    with at_work(system):
        wait_until_joined(system, bench.kafka)
        with Load(system.place, force.rate, seconds, poison=fault == POISON) as load:
            samples, fault_at = _through(fault, system, force, load, bench.stall)
        poison = load.poison
        stored, accounted = _offsets(system, system.tables.stored), _offsets(system, "true")
        ends, committed = _in_kafka(system)
        doubled = account(system).doubled
    lost, waiting = missing(stored, ends, committed, poison)
    became = fate(poison, stored, accounted, committed) if poison else ""
    stood = longest_gap(samples, fault_at)
    return Loss(name, fault, load.events, lost, waiting, doubled, stood, system.restarts, became)


def longest_gap(samples: Sequence[Sample], since: float) -> float:
    """Return the longest time from rows to more rows, if these are not from before `since`."""
    return max(
        (later.at - earlier.at for earlier, later in pairwise(samples) if earlier.rows and later.at >= since),
        default=0.0,
    )


def missing(
    stored: Offsets,
    ends: Mapping[int, int],
    committed: Mapping[int, int],
    poison: tuple[int, int] | None,
) -> tuple[int, int]:
    """Return how many good records are lost, and how many wait behind the committed offset."""
    lost = waiting = 0
    for partition, end in ends.items():
        for offset in set(range(end)) - stored.get(partition, set()):
            if (partition, offset) == poison:
                continue
            if offset < committed.get(partition, 0):
                lost += 1
            else:
                waiting += 1
    return lost, waiting


def fate(poison: tuple[int, int], stored: Offsets, accounted: Offsets, committed: Mapping[int, int]) -> str:
    """Return what has become of the poison record."""
    partition, offset = poison
    if offset in stored.get(partition, ()):
        return "a row like any other"
    if offset in accounted.get(partition, ()):
        return "rejected, with an account"
    return "dropped" if offset < committed.get(partition, 0) else "read again and again"


def _through(fault: str, system: System, force: Force, load: Load, stall: float) -> tuple[Sequence[Sample], float]:
    """Follow a system until it has stored all or stalls; return its rows over time, and when the fault began."""
    server, began = system.place.server, time.monotonic()
    fault_at = began + POISON_AT * load.seconds
    steps = _harm(fault, system, fault_at, force.outage)
    samples = [Sample(began, 0)]
    while True:
        now = time.monotonic()
        if steps and now >= steps[0][0]:
            steps.pop(0)[1]()
        rows = visible(system) if server.running else None
        if rows is not None and rows > samples[-1].rows:
            samples.append(Sample(now, rows))
        rest = SETTLE_S if samples[-1].rows >= load.events else stall
        if load.ended and not steps and now - max(samples[-1].at, load.ended_at) > rest:
            return samples, fault_at
        system.keep()
        time.sleep(SAMPLE_S)


def _harm(fault: str, system: System, at: float, outage: float) -> list[tuple[float, Callable[[], object]]]:
    """Return what is done, and when; poison is the producer's."""
    server = system.place.server
    if fault == OUTAGE:
        return [(at, server.stop), (at + outage, server.start)]
    return [(at, system.kill)] if fault == KILL else []


def _offsets(system: System, condition: str) -> Offsets:
    """Return the offsets of the rows that fulfil a condition, by partition."""
    sql = f"SELECT DISTINCT kafka_partition, kafka_offset FROM {system.tables.rows} WHERE {condition}"  # noqa: S608
    found: dict[int, set[int]] = {}
    for line in system.place.server.query(sql).splitlines():
        partition, offset = map(int, line.split())
        found.setdefault(partition, set()).add(offset)
    return found


def _in_kafka(system: System) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Return the end and the committed offset of each partition."""
    admin = KafkaAdminClient(bootstrap_servers=system.place.bootstrap)
    consumer = KafkaConsumer(bootstrap_servers=system.place.bootstrap)
    try:
        places = [TopicPartition(system.place.topic, number) for number in range(PARTITIONS)]
        ends = {place.partition: end for place, end in consumer.end_offsets(places).items()}
        committed = group_offsets(admin, system.place.database)
    finally:
        admin.close()
        consumer.close()
    return ends, {place.partition: meta.offset for place, meta in committed.items()}
