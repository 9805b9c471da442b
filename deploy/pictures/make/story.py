"""The run that the pictures show: real servers, two daemons of one group, traffic that varies, and some faults.

Everything is as an operator would see it: the daemons are scraped as job `runstep` by a Prometheus with the recording
rules and alerts of deploy/, the topic is `run-steps` and the database `runsteps`. Two things are arranged: scrapes come
every 2 s, so that a few minutes fill a graph, and the members are given names that do not change with their ports.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Final, Self

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from deploy.pictures.make.oddities import odd_events
from pipeline.config import KafkaSettings
from pipeline.tools.simulation import SimulatedEvent, Traffic, events
from pipeline.tools.simulation.producer import EventProducer, timeline
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.prometheus import PrometheusAddress, PrometheusServer
from tests.support.daemon import Daemon, migrate, running_daemon
from tests.support.paths import ROOT

TOPIC: Final = "run-steps"
DATABASE: Final = "runsteps"
JOB: Final = "runstep"
PARTITIONS: Final = 6
MEMBERS: Final = ("runstep-0:9464", "runstep-1:9464")
SETTLING_S: Final = 25.0
"""After the history was read: longer than the window of any rate, so that no rate shows it."""
HOUR: Final = 3_600
DAY: Final = 24 * HOUR


@dataclass(frozen=True)
class Burst:
    """Traffic from `start` to `end`, in shares of the run; None: from `odd_events`."""

    start: float
    end: float
    rate: float
    traffic: Traffic | None


@dataclass(frozen=True)
class Stretch:
    """Traffic that began `ago` hours before the run and lasted `hours`, in events an hour."""

    ago: float
    hours: float
    rate: int
    traffic: Traffic


@dataclass(frozen=True)
class Scene:
    """The servers that hold the run, and its start and end in epoch seconds."""

    clickhouse: str
    prometheus: str
    start: float
    end: float

    def save(self, path: Path) -> None:
        """Write it for a later `load`, also by another process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` has written."""
        return cls(**json.loads(path.read_text()))


HISTORY: Final = (
    Stretch(23.0, 23.0, 3_000, Traffic(seed=7, failure_ratio=0.008)),
    Stretch(17.0, 13.5, 2_500, Traffic(seed=9, failure_ratio=0.01)),
    Stretch(8.0, 1.0, 2_000, Traffic(seed=10, failure_ratio=0.4)),
)
"""What is stored does not begin with the run."""
BURSTS: Final = (
    Burst(0.0, 1.0, 26, Traffic(seed=11, failure_ratio=0.008)),
    Burst(0.05, 0.44, 14, Traffic(seed=12, failure_ratio=0.01)),
    Burst(0.14, 0.28, 20, Traffic(seed=13, failure_ratio=0.008)),
    # What an incident at the provider looks like.
    Burst(0.28, 0.38, 20, Traffic(seed=14, failure_ratio=0.4)),
    # A producer that lost its schema.
    Burst(0.36, 0.44, 8, Traffic(seed=15, poison_ratio=0.4)),
    Burst(0.50, 0.92, 22, Traffic(seed=16, failure_ratio=0.01, out_of_order_ratio=0.1)),
    Burst(0.15, 0.48, 1.5, None),
    Burst(0.66, 0.95, 1.0, None),
    Burst(0.80, 1.0, 12, Traffic(seed=17, failure_ratio=0.02)),
)
GLANCE: Final = 0.45
TABLE_AWAY: Final = (0.55, 0.62)
MEMBER_AWAY: Final = (0.74, 0.80)


@contextmanager
def played_run(seconds: float, glance: Callable[[list[str]], None] = lambda _: None) -> Iterator[Scene]:
    """Start everything, play the run, and yield its scene; all servers end with the context.

    Args:
        seconds: how long the part lasts that the pictures show.
        glance: called with the daemons' addresses while they work; may take a tenth of the time.
    """
    with ExitStack() as stack:
        kafka = KafkaAddress(stack.enter_context(KafkaServer()).bootstrap)
        database = stack.enter_context(ClickHouseServer())
        clickhouse = ClickHouseAddress(database.url, database.tcp_port)
        rules = sorted((ROOT / "deploy" / "prometheus").glob("*.rules.yml"))
        prometheus = stack.enter_context(PrometheusServer(rules=rules, interval="2s")).address
        _create_topics(kafka)
        migrate(kafka, clickhouse, TOPIC, DATABASE)
        daemons = [
            stack.enter_context(running_daemon(kafka, clickhouse, TOPIC, DATABASE, kafka__group_id="runstep"))
            for _ in MEMBERS
        ]
        _scrape(prometheus, daemons)
        prometheus.wait_for_scrape(JOB)
        _produce_history(kafka)
        daemons[0].wait_until_accounted()
        time.sleep(SETTLING_S)
        start = time.time()
        _play(kafka, clickhouse, daemons, seconds, glance)
        prometheus.wait_for_scrape(JOB)
        yield Scene(clickhouse.url, prometheus.url, start, time.time())


def _create_topics(kafka: KafkaAddress) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1), NewTopic(f"{TOPIC}.dlq", 1, 1)])
    finally:
        admin.close()


def _scrape(prometheus: PrometheusAddress, daemons: list[Daemon]) -> None:
    groups = [
        {"targets": [daemon.address], "labels": {"job": JOB, "instance": name}}
        for name, daemon in zip(MEMBERS, daemons, strict=True)
    ]
    listing = prometheus.targets / f"{JOB}.json"
    staging = listing.with_suffix(".part")
    staging.write_text(json.dumps(groups))
    staging.rename(listing)


def _play(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    daemons: list[Daemon],
    seconds: float,
    glance: Callable[[list[str]], None],
) -> None:
    """Play traffic and faults. This thread starts the daemons, since the kernel ends them with it."""
    began = time.monotonic()

    def until(share: float) -> None:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))

    failures: list[BaseException] = []
    bursts = [threading.Thread(target=_burst, args=(kafka, seconds, one, failures), daemon=True) for one in BURSTS]
    for thread in bursts:
        thread.start()
    until(0.2)
    _produce(kafka, events(Traffic(seed=8), 600, time.time() - 2 * DAY))
    until(GLANCE)
    glance([daemon.address for daemon in daemons])
    until(TABLE_AWAY[0])
    clickhouse.query("RENAME TABLE run_step_ingest TO run_step_ingest_away", database=DATABASE)
    until(TABLE_AWAY[1])
    clickhouse.query("RENAME TABLE run_step_ingest_away TO run_step_ingest", database=DATABASE)
    until(MEMBER_AWAY[0])
    daemons[1].stop()
    until(MEMBER_AWAY[1])
    daemons[1].start()
    for thread in bursts:
        thread.join()
    if failures:
        raise failures[0]
    for daemon in daemons:
        daemon.wait_until_ready()


def _burst(kafka: KafkaAddress, seconds: float, burst: Burst, failures: list[BaseException]) -> None:
    time.sleep(burst.start * seconds)
    ended = threading.Event()
    timer = threading.Timer((burst.end - burst.start) * seconds, ended.set)
    timer.start()
    try:
        producer = _producer(kafka)
        try:
            stream = timeline(burst.traffic, None, burst.rate) if burst.traffic else odd_events()
            producer.produce(stream, burst.rate, ended)
        finally:
            producer.close()
    except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
        failures.append(error)
    finally:
        timer.cancel()


def _produce_history(kafka: KafkaAddress) -> None:
    """Produce the steps of the hours before the run."""
    now = time.time()
    for stretch in HISTORY:
        _produce(kafka, of_stretch(stretch, now))


def of_stretch(stretch: Stretch, now: float) -> Iterator[SimulatedEvent]:
    """Yield the events of a stretch of time before `now`."""
    begun = now - stretch.ago * HOUR
    traffic = replace(stretch.traffic, rate=stretch.rate / HOUR)
    return takewhile(lambda event: event.at < begun + stretch.hours * HOUR, events(traffic, None, begun))


def _produce(kafka: KafkaAddress, stream: Iterable[SimulatedEvent]) -> None:
    """Produce events at once."""
    producer = _producer(kafka)
    try:
        producer.produce(stream)
    finally:
        producer.close()


def _producer(kafka: KafkaAddress) -> EventProducer:
    return EventProducer(KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), TOPIC)
