"""From the producer to a query: how long an event takes at a steady load, half of what the system can do.

An event is visible with the first look at the table that shows its offset, or a later one of its partition. When it was
produced is what its record says.
"""

import bisect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from tests.benchmarks.peers.load import Load
from tests.benchmarks.peers.systems import System
from tests.benchmarks.peers.traffic import PARTITIONS
from tests.benchmarks.peers.watching import Bench, at_work, wait_until_joined
from tests.servers.addresses import ClickHouseRefused

LOOK_S: Final = 0.05
WARM_UP_S: Final = 3.0
"""Seconds of the load that do not count: connections, first batches."""
MOST_LATE_S: Final = 1.0
"""Seconds by which a producer may be late before the load is not the one that was asked for."""


class Look(NamedTuple):
    """The last visible offset of each partition, and when it was seen (seconds since the epoch)."""

    at: float
    offsets: Mapping[int, int]


@dataclass(frozen=True)
class Delay:
    """How long events took from the producer to a query, in seconds, at a load of `rate` events a second."""

    system: str
    rate: float
    p50: float | None = None
    p99: float | None = None
    void: str = ""


def delays(produced: Mapping[int, Sequence[float]], looks: Sequence[Look]) -> list[tuple[float, float]]:
    """Return of each event that was seen when it was produced, and how long it took; `produced` is by offset."""
    found = []
    for partition, stamps in produced.items():
        shown = [look.offsets.get(partition, -1) for look in looks]
        for offset, stamp in enumerate(stamps):
            first = bisect.bisect_left(shown, offset)
            if first < len(looks):
                found.append((stamp, looks[first].at - stamp))
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which so much of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def at_load(name: str, system: System, bench: Bench, rate: float, seconds: float) -> Delay:
    """Measure a system that waits for the load when it begins."""
    with at_work(system):
        wait_until_joined(system, bench.kafka)
        with Load(system.place, rate, seconds + WARM_UP_S) as load:
            looks = _looks(system, load, bench.stall)
        produced = _stamps(bench.kafka.bootstrap, system.place.topic)
    if load.late > MOST_LATE_S:
        return Delay(name, rate, void=f"the producer was {load.late:.1f} s late")
    found = delays(produced, looks)
    if len(found) < load.events:
        return Delay(name, rate, void=f"{load.events - len(found):,} of {load.events:,} events were not seen")
    since = min(stamp for stamp, _ in found) + WARM_UP_S
    warm = [delay for stamp, delay in found if stamp >= since]
    return Delay(name, rate, percentile(warm, 0.5), percentile(warm, 0.99))


def _looks(system: System, load: Load, stall: float) -> list[Look]:
    """Look until every event is there, or none has come for `stall` seconds after the producer's end."""
    looks = [Look(time.time(), {})]
    changed_at = time.monotonic()
    while not load.ended or sum(offset + 1 for offset in looks[-1].offsets.values()) < load.events:
        look = Look(time.time(), _last_offsets(system))
        if look.offsets != looks[-1].offsets:
            looks.append(look)
            changed_at = time.monotonic()
        elif load.ended and time.monotonic() - changed_at > stall:
            break
        time.sleep(LOOK_S)
    return looks


def _last_offsets(system: System) -> Mapping[int, int]:
    sql = f"SELECT kafka_partition, max(kafka_offset) FROM {system.tables.rows} GROUP BY kafka_partition"  # noqa: S608
    try:
        lines = system.place.server.query(sql).splitlines()
    except ClickHouseRefused:
        return {}  # the table is not made yet
    return {int(partition): int(offset) for partition, offset in map(str.split, lines)}


def _stamps(bootstrap: str, topic: str) -> Mapping[int, Sequence[float]]:
    """Return when each record of a topic was produced, by partition and in the order of offsets."""
    stamps: dict[int, list[float]] = {number: [] for number in range(PARTITIONS)}
    places = [TopicPartition(topic, number) for number in stamps]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign(places)
    try:
        ends = consumer.end_offsets(places)
        while any(len(stamps[place.partition]) < ends[place] for place in places):
            for place, records in consumer.poll(500).items():
                stamps[place.partition].extend(record.timestamp / 1000 for record in records)
    finally:
        consumer.close()
    return stamps
