"""A run of the pipeline with data for every panel of the dashboards, faults included, and a way to query it.

`eventful` is the seam: it gives the addresses, the database, the time range and the job of one run with data. Any
other way of making such a run can take its place.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from pydantic import SecretStr

from pipeline.clickhouse.migrations import connected, migrate
from pipeline.config import ClickHouseSettings, KafkaSettings
from pipeline.tools.simulation import SimulatedEvent, Traffic, events
from pipeline.tools.simulation.producer import EventProducer, timeline
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.process import free_port
from tests.servers.prometheus import PrometheusAddress, PrometheusServer
from tests.support.daemon import Daemon, running_daemon
from tests.support.dashboards import Range, Target, expand_promql, expand_sql
from tests.support.oracle import until
from tests.support.paths import ROOT

JOB = "runstep"  # the rules' own
RETRIES = "runstep_insert_retries_total"
OLDEST = "runstep_buffer_oldest_timestamp_seconds"
NOT_THERE = "the run did not get there within a minute"
RULES = sorted((ROOT / "deploy" / "prometheus").glob("*.rules.yml"))


@dataclass(frozen=True)
class Run:
    """A run with data: where it was scraped to and stored, and when."""

    prometheus: PrometheusAddress
    clickhouse: ClickHouseAddress
    database: str
    span: Range

    def promql(self, target: Target, **chosen: str) -> list[float]:
        """Ask Prometheus as a panel does, at the end of the range or over all of it, and return every value."""
        expr = expand_promql(target.text, self.span, job=JOB, **chosen)
        start = self.span.end if target.instant else self.span.start
        answer = self.prometheus.query_range(expr, start, self.span.end)
        return [float(value) for series in answer for _, value in series["values"]]

    def sql(self, text: str, chosen: Mapping[str, list[str]] | None = None) -> list[dict[str, Any]]:
        """Ask ClickHouse for the hours in which the steps were made, and return the rows."""
        return self.rows(self.expanded(text, chosen))

    def expanded(self, text: str, chosen: Mapping[str, list[str]] | None = None) -> str:
        """Return a panel's statement as ClickHouse gets it."""
        return expand_sql(text, Range(self.span.start - 7200, self.span.end), chosen)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return what a statement gives."""
        answer: dict[str, Any] = json.loads(
            self.clickhouse.query(
                f"{sql}\nFORMAT JSON", database=self.database, output_format_json_quote_64bit_integers="0"
            )
        )
        return list(answer["data"])


@contextmanager
def eventful(kafka: KafkaAddress, admin: KafkaAdminClient, clickhouse: ClickHouseAddress) -> Iterator[Run]:
    """Run a daemon on simulated traffic, old steps too; take its table away; let a second one come and go."""
    name = f"dashboards-{uuid.uuid4().hex[:8]}"
    database, addresses = name.replace("-", "_"), [f"127.0.0.1:{free_port()}" for _ in range(2)]
    admin.create_topics([NewTopic(name, 2, 1), NewTopic(f"{name}.dlq", 1, 1)])
    settings = ClickHouseSettings(url=SecretStr(clickhouse.url), database=database)
    with connected(settings) as client:
        migrate(client, settings)
    # Rows stay in memory for longer than a scrape's interval.
    daemon = partial(running_daemon, kafka, clickhouse, name, database, batch__max_age=1)
    with scraping(addresses) as prometheus, daemon(http__bind=addresses[0]) as first:
        start = time.time()
        prometheus.wait_for_scrape(JOB)
        with daemon(http__bind=addresses[1], wait=False) as second:
            _produce(kafka, name, timeline(Traffic(seed=7, failure_ratio=0.2, poison_ratio=0.01), 2_000, 0))
            _produce(kafka, name, events(Traffic(seed=8), 300, time.time() - 172_800))
            second.wait_until_ready()
            until(lambda: _sum(second, "runstep_assigned_partitions") == 1, NOT_THERE)
            # Asked as the panel is: a moment between two of its points is not shown.
            oldest = f'{OLDEST}{{job="{JOB}"}} > 0'
            _produce_until(kafka, name, lambda: prometheus.query_range(oldest, start - 1, time.time()) != [])
            with _without_its_table(clickhouse, database):
                _produce(kafka, name, timeline(Traffic(seed=9), 100, 0))
                until(lambda: _sum(first, RETRIES) + _sum(second, RETRIES) > 0, NOT_THERE)
            first.wait_until_accounted()
            second.wait_until_accounted()
            prometheus.wait_for_scrape(JOB)
        until(lambda: _sum(first, "runstep_assigned_partitions") == 2, NOT_THERE)
        # Twice, so that every rate has two values on the far side of the change.
        prometheus.wait_for_scrape(JOB)
        prometheus.wait_for_scrape(JOB)
        yield Run(prometheus, clickhouse, database, Range(start - 1, time.time()))
    clickhouse.query(f"DROP DATABASE IF EXISTS `{database}`")
    admin.delete_topics([name, f"{name}.dlq"])


@contextmanager
def scraping(addresses: list[str]) -> Iterator[PrometheusAddress]:
    """Start a Prometheus with the rules of deploy/, which scrapes several daemons as one job.

    Prometheus needs about 5 s to find its targets, as long as a daemon to start: name both before.
    """
    server = PrometheusServer(rules=RULES)
    server.address.targets.mkdir()
    listing = [{"targets": addresses, "labels": {"job": JOB}}]
    (server.address.targets / "daemons.json").write_text(json.dumps(listing))
    with server:
        yield server.address


def _produce(kafka: KafkaAddress, topic: str, stream: Iterable[SimulatedEvent]) -> None:
    producer = EventProducer(KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), topic)
    try:
        producer.produce(stream)
    finally:
        producer.close()


def _produce_until(kafka: KafkaAddress, topic: str, condition: Callable[[], bool]) -> None:
    """Produce a little at a time until a scrape has met what is there for a moment only."""
    seeds = count(10)

    def seen() -> bool:
        _produce(kafka, topic, timeline(Traffic(seed=next(seeds)), 20, 0))
        return condition()

    until(seen, NOT_THERE)


@contextmanager
def _without_its_table(clickhouse: ClickHouseAddress, database: str) -> Iterator[None]:
    """Take away the table that the daemon writes, for as long as the context lasts."""
    clickhouse.query(f"RENAME TABLE {database}.run_step_ingest TO {database}.away")
    try:
        yield
    finally:
        clickhouse.query(f"RENAME TABLE {database}.away TO {database}.run_step_ingest")


def _sum(daemon: Daemon, metric: str) -> float:
    return sum(value for (name, _), value in daemon.metrics().items() if name == metric)
