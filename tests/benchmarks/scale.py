"""`python -m tests.benchmarks.scale --events-per-second 1000000`: a plan from measured costs, its arithmetic shown.

The defaults are what `python -m tests.benchmarks.footprint` has measured, and the assumptions of deploy/scale.md. Give
your own: each input is an option. Pure arithmetic; nothing is run.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import ceil
from typing import Any, NamedTuple

MILLION = 1_000_000
DAY = 86_400
HOUR = 3_600
DAYS_OF_MONTH = 30


def measured(value: float, text: str) -> Any:
    """Declare an input that was measured."""
    return field(default=value, metadata={"text": f"measured: {text}"})


def assumed(value: float, text: str) -> Any:
    """Declare an input that was chosen by hand."""
    return field(default=value, metadata={"text": f"assumed: {text}"})


@dataclass(frozen=True)
class Inputs:
    """What a plan is made from; µs are of CPU, for each event."""

    events_per_second: float = assumed(MILLION, "events a second")
    cpu_us: float = measured(36, "daemon")
    insert_us: float = measured(7.0, "ClickHouse, for the insert into both tables")
    insert_fixed_us: float = measured(5_000, "ClickHouse, for an insert whatever its size, in each shard")
    merge_us: float = measured(7.3, "ClickHouse, to merge the rows of both tables once")
    event_bytes: float = measured(579, "bytes of a record's value")
    row_bytes: float = measured(1_500, "bytes of memory of a record and its row, beside the value")
    kafka_bytes: float = measured(154, "bytes of an event in Kafka, lz4")
    insert_bytes: float = measured(109, "bytes of an event on its way to ClickHouse, lz4")
    steps_bytes: float = measured(46.6, "bytes on disk for an event in run_steps, merged")
    ledger_bytes: float = measured(20.2, "bytes on disk for an event in run_step_ledger, merged")
    scrape_bytes: float = measured(43_600, "bytes of a member's /metrics")
    series: float = measured(511, "series of a member")
    broker_us: float = assumed(5, "the broker, to take an event or a copy of it, and to hand it out")
    member_busy: float = assumed(0.7, "share of a core that a member uses; the rest is for catching up")
    spare_partitions: float = assumed(2, "partitions for each member: room to add members, which partitions have not")
    batch_rows: float = assumed(100_000, "batch.max_rows")
    batch_bytes: float = assumed(268_435_456, "batch.max_bytes")
    rewrites: float = assumed(5, "times a row is merged until it rests")
    shard_cores: float = assumed(16, "cores of a ClickHouse server")
    shard_busy: float = assumed(0.4, "share of them for ingest; the rest is for reads and for catching up")
    shard_disk_tb: float = assumed(12, "terabytes of a ClickHouse server that may be filled")
    shard_replicas: float = assumed(2, "copies of each shard")
    retention_days: float = assumed(30, "days that ClickHouse keeps")
    kafka_days: float = assumed(3, "days that Kafka keeps")
    kafka_replicas: float = assumed(3, "copies of each partition")
    broker_mb: float = assumed(150, "megabytes a second that a broker writes")
    core_hour: float = assumed(0.04, "price of a core for an hour")
    gb_month: float = assumed(0.08, "price of a gigabyte of disk for a month")


class Line(NamedTuple):
    """One step of the plan: what, from what, and the result."""

    what: str
    arithmetic: str
    result: str


class Plan:
    """All of it, from the inputs; each line uses only inputs and the numbers of lines above."""

    def __init__(self, given: Inputs) -> None:
        self.given = given
        rate = given.events_per_second
        self.members = ceil(rate * given.cpu_us / MILLION / given.member_busy)
        self.partitions = ceil(self.members * given.spare_partitions)
        self.rows = min(given.batch_rows, given.batch_bytes // (given.row_bytes + given.event_bytes))
        self.inserts = rate / self.rows
        self.store_us = given.insert_us + given.rewrites * given.merge_us
        self.store_cores = rate * self.store_us / MILLION
        self.stored_tb = rate * DAY * (given.steps_bytes + given.ledger_bytes) / 1e12
        by_cores = ceil(self.store_cores / (given.shard_cores * given.shard_busy))
        by_disk = ceil(self.stored_tb * given.retention_days / given.shard_disk_tb)
        self.shards_by = by_cores, by_disk
        self.shards = max(by_cores, by_disk)
        self.kafka_mb = rate * given.kafka_bytes / MILLION
        self.brokers = max(ceil(self.kafka_mb * given.kafka_replicas / given.broker_mb), int(given.kafka_replicas))
        self.kafka_tb = rate * given.kafka_bytes * DAY * given.kafka_days * given.kafka_replicas / 1e12
        self.core_us = given.cpu_us + self.store_us * given.shard_replicas + given.broker_us * given.kafka_replicas
        self.disk_gb = (self.stored_tb * given.retention_days * given.shard_replicas + self.kafka_tb) * 1_000
        self.events_of_month = rate * DAY * DAYS_OF_MONTH / MILLION

    def lines(self) -> Iterator[Line]:
        """Yield the plan, line by line."""
        yield from self._daemons()
        yield from self._clickhouse()
        yield from self._kafka()
        yield from self._costs()

    def _daemons(self) -> Iterator[Line]:
        it, rate = self.given, f"{self.given.events_per_second:,.0f}"
        yield Line(
            "daemon cores, busy", f"{rate} * {it.cpu_us:g} µs", f"{it.events_per_second * it.cpu_us / MILLION:.1f}"
        )
        yield Line("members, a core each", f"the same / {it.member_busy:g}, rounded up", f"{self.members}")
        yield Line("partitions", f"{self.members} * {it.spare_partitions:g}", f"{self.partitions}")
        each = it.events_per_second / self.members
        yield Line("events/s of a member", f"{rate} / {self.members}", f"{each:,.0f}")
        rows = (
            f"the lesser of {it.batch_rows:,.0f} and {it.batch_bytes:,.0f} / ({it.row_bytes:,.0f} + {it.event_bytes:g})"
        )
        yield Line("rows of an insert", rows, f"{self.rows:,.0f}")
        yield Line(
            "seconds to fill it: `batch.max_age` at least", f"{self.rows:,.0f} / {each:,.0f}", f"{self.rows / each:.1f}"
        )
        series = f"{self.members} * {it.series:,.0f}"
        yield Line("series in Prometheus", series, f"{self.members * it.series:,.0f}")
        scrape = f"{self.members} * {it.scrape_bytes:,.0f} / 15 s"
        yield Line("scrapes, kB/s", scrape, f"{self.members * it.scrape_bytes / 15 / 1_000:,.0f}")

    def _clickhouse(self) -> Iterator[Line]:
        it = self.given
        by_cores, by_disk = self.shards_by
        yield Line(
            "ClickHouse, µs/event", f"{it.insert_us:g} + {it.rewrites:g} * {it.merge_us:g}", f"{self.store_us:.1f}"
        )
        yield Line(
            "ClickHouse cores, busy, one replica",
            f"{it.events_per_second:,.0f} * {self.store_us:.1f} µs",
            f"{self.store_cores:.1f}",
        )
        yield Line("shards by CPU", f"{self.store_cores:.1f} / ({it.shard_cores:g} * {it.shard_busy:g})", f"{by_cores}")
        disk = f"{it.events_per_second:,.0f} * {DAY:,} * ({it.steps_bytes:g} + {it.ledger_bytes:g}) bytes"
        yield Line("TB a day, one replica", disk, f"{self.stored_tb:.2f}")
        yield Line(
            "shards by disk", f"{self.stored_tb:.2f} * {it.retention_days:g} / {it.shard_disk_tb:g}", f"{by_disk}"
        )
        servers = f"{self.shards} * {it.shard_replicas:g}"
        yield Line("ClickHouse servers", servers, f"{self.shards * it.shard_replicas:.0f}")
        inserts = f"{it.events_per_second:,.0f} / {self.rows:,.0f}"
        yield Line("inserts/s; each reaches every shard", inserts, f"{self.inserts:.1f}")
        yield Line("new parts/s in a shard, two tables", f"{self.inserts:.1f} * 2", f"{self.inserts * 2:.1f}")
        yield Line(
            "rows of such a part, at most", f"{self.rows:,.0f} / {self.shards}", f"{self.rows / self.shards:,.0f}"
        )
        yield Line(
            "cores that the number of inserts costs, all shards",
            f"{self.inserts:.1f} * {self.shards} * {it.insert_fixed_us:,.0f} µs",
            f"{self.inserts * self.shards * it.insert_fixed_us / MILLION:.1f}",
        )
        network = f"{it.events_per_second:,.0f} * {it.insert_bytes:g} bytes"
        yield Line(
            "MB/s from daemons to ClickHouse", network, f"{it.events_per_second * it.insert_bytes / MILLION:,.0f}"
        )

    def _kafka(self) -> Iterator[Line]:
        it = self.given
        yield Line(
            "MB/s into Kafka, and out of it",
            f"{it.events_per_second:,.0f} * {it.kafka_bytes:g} bytes",
            f"{self.kafka_mb:,.0f}",
        )
        yield Line("brokers", f"{self.kafka_mb:,.0f} * {it.kafka_replicas:g} / {it.broker_mb:g}", f"{self.brokers}")
        disk = f"{self.kafka_mb:,.0f} MB * {DAY:,} * {it.kafka_days:g} * {it.kafka_replicas:g}"
        yield Line("TB in Kafka", disk, f"{self.kafka_tb:,.0f}")

    def _costs(self) -> Iterator[Line]:
        it = self.given
        cores = (
            f"{it.cpu_us:g} + {self.store_us:.1f} * {it.shard_replicas:g} + {it.broker_us:g} * {it.kafka_replicas:g}"
        )
        yield Line("core-seconds for a million events", cores, f"{self.core_us:.1f}")
        cpu = self.core_us / HOUR * it.core_hour
        yield Line("$ for a million events, busy CPU", f"{self.core_us:.1f} / 3,600 * {it.core_hour:g}", f"{cpu:.5f}")
        disk = self.disk_gb * it.gb_month / self.events_of_month
        stored = f"{self.disk_gb:,.0f} GB * {it.gb_month:g} / {self.events_of_month:,.0f} million a month"
        yield Line("$ for a million events, disk", stored, f"{disk:.5f}")
        bought = (
            self.members
            + self.shards * it.shard_replicas * it.shard_cores
            + it.events_per_second * it.broker_us * it.kafka_replicas / MILLION / it.shard_busy
        )
        cores = f"{self.members} members + {self.shards * it.shard_replicas:.0f} * {it.shard_cores:g} + brokers"
        yield Line("cores that are bought", cores, f"{bought:,.0f}")
        month = bought * it.core_hour * 24 * DAYS_OF_MONTH + self.disk_gb * it.gb_month
        whole = f"{bought:,.0f} * {it.core_hour:g} * 720 h + {self.disk_gb:,.0f} GB * {it.gb_month:g}"
        yield Line("$ a month, bought", whole, f"{month:,.0f}")
        yield Line(
            "$ for a million events, bought",
            f"{month:,.0f} / {self.events_of_month:,.0f}",
            f"{month / self.events_of_month:.4f}",
        )


def table(given: Inputs) -> str:
    """Return the plan as the table of deploy/scale.md."""
    rows = (f"| {line.what} | {line.arithmetic} | **{line.result}** |" for line in Plan(given).lines())
    return "\n".join(["| | arithmetic | result |", "|---|---|---|", *rows])


def inputs(arguments: list[str] | None = None) -> Inputs:
    """Return what the command line says, and the defaults for the rest."""
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for one in fields(Inputs):
        options.add_argument(
            f"--{one.name.replace('_', '-')}",
            type=float,
            default=one.default,
            help=f"{one.metadata['text']} (%(default)s)",
        )
    return Inputs(**vars(options.parse_args(arguments)))


if __name__ == "__main__":
    print(table(inputs()))
