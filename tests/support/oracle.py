"""What is produced, and what must be the case then: tables, dead letters and counters against the model.

    with place(kafka, clickhouse) as there, Load(there, repeating(traffic(1), 1), rate=2_000) as load:
        with running_daemon(*there) as daemon:
            ...stop, kill and start whatever is to be survived...
            load.stop()
            daemon.wait_until_accounted()
            last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last, ...])) == ""

The truth of an event was fixed when it was made; its place is looked up in Kafka afterwards by a consumer of the test's
own. So a producer that repeats a batch whose acknowledgement was lost changes what is true, and not what is tested.
"""

import json
import random
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias

import clickhouse_connect
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from pipeline.config import KafkaSettings
from pipeline.tools.simulation import SimulatedEvent, Traffic, events
from pipeline.tools.simulation.producer import EventProducer
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.daemon import HTTP_OK, Daemon, migrate
from tests.support.group_offsets import group_offsets
from tests.support.model import TERMINAL, Model, difference, read_current, read_ledger, read_samples

WAIT: Final = 60.0
HOUR: Final = 3_600

Origin: TypeAlias = tuple[int, int]
"""kafka_partition, kafka_offset."""
Samples: TypeAlias = Mapping[str, float]
"""In the form of `Model.samples`."""


class Place(NamedTuple):
    """Where a test takes place; `running_daemon(*place)` and `migrate(*place)` work there."""

    kafka: KafkaAddress
    clickhouse: ClickHouseAddress
    topic: str
    database: str


@contextmanager
def place(kafka: KafkaAddress, clickhouse: ClickHouseAddress, *, tables: bool = True) -> Iterator[Place]:
    """Make topics of four partitions and, by default, the tables; remove all of it at the end."""
    topic = f"acceptance-{uuid.uuid4().hex[:8]}"
    there = Place(kafka, clickhouse, topic, topic.replace("-", "_"))
    names = (topic, f"{topic}.dlq")
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 4, 1) for name in names])
    if tables:
        migrate(*there)
    yield there
    # After a failure the servers may be away, and the failure is what matters. A client of its own, since one that has
    # seen a broker killed may still keep away from it.
    clickhouse.query(f"DROP DATABASE IF EXISTS {there.database}")
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.delete_topics(list(names))


def traffic(seed: int, *, ago: int = HOUR, **ratios: float) -> Iterator[SimulatedEvent]:
    """Yield events without end, 50 for each simulated second, beginning so many seconds ago.

    The beginning is a whole second: times are cut to seconds, and the same seed makes the same durations.
    """
    return events(Traffic(seed=seed, **ratios), None, float(int(time.time()) - ago))


def repeating(stream: Iterable[SimulatedEvent], seed: int, share: float = 0.1) -> Iterator[SimulatedEvent]:
    """Yield each event, and in between ends that came before, however long ago."""
    draw = random.Random(seed)
    ends: list[SimulatedEvent] = []
    for event in stream:
        yield event
        if event.kind in TERMINAL:
            ends.append(event)
        if ends and draw.random() < share:
            yield draw.choice(ends)


class Load:
    """A producer on a thread of its own; `with` starts it, `stop` ends it when Kafka has acknowledged everything.

    Attributes:
        produced: what was handed to Kafka so far.
    """

    def __init__(self, there: Place, stream: Iterable[SimulatedEvent], rate: float = 0) -> None:
        self.produced: list[SimulatedEvent] = []
        self._producer = EventProducer(KafkaSettings(bootstrap_servers=(there.kafka.bootstrap,)), there.topic)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, args=(stream, rate), name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(WAIT)
        self._producer.close()

    def go_on(self, number: int) -> None:
        """Wait until so many more events were produced, or there are no more."""
        goal = len(self.produced) + number
        until(lambda: len(self.produced) >= goal or not self._thread.is_alive(), "the load does not continue")
        self._raise()

    def finish(self) -> None:
        """Wait until there are no more events and all of them are acknowledged."""
        until(lambda: not self._thread.is_alive(), "Kafka does not acknowledge the load")
        self._raise()

    def stop(self) -> None:
        """Produce no more, and wait until all is acknowledged."""
        self._stop.set()
        self.finish()

    def _produce(self, stream: Iterable[SimulatedEvent], rate: float) -> None:
        try:
            self._producer.produce(self._noted(stream), rate, self._stop)
        except BaseException as error:  # noqa: BLE001 - raised again on the test's thread
            self._failure = error

    def _noted(self, stream: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
        for event in stream:
            self.produced.append(event)
            yield event

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


class Truth:
    """What must be the case once everything in a topic was read: made of Kafka's records and of what they meant.

    Args:
        there: the place.
        produced: every event that may be in the topic.
        read_at: as for `Model`.

    Attributes:
        model: for a closer look.
        records: how many records Kafka holds.
    """

    def __init__(self, there: Place, produced: Iterable[SimulatedEvent], read_at: int | None = None) -> None:
        self._there = there
        self._refused: dict[Origin, tuple[bytes | None, bytes | None, str]] = {}
        self.model = Model(read_at)
        meant = {event.value: event for event in produced}
        records = read_topic(there.kafka, there.topic)
        self.records = len(records)
        for record in records:
            event = meant[record.value]
            self.model.add(event, record.partition, record.offset)
            if event.outcome == "dead_lettered":
                self._refused[record.partition, record.offset] = (record.key, record.value, str(event.reason))

    def check_tables(self, *, written_once: bool = False) -> None:
        """Compare the ledger and the current steps with the model.

        Args:
            written_once: whether nothing may even have been written twice, to be merged later.
        """
        database = self._there.database
        ledger = self.model.ledger
        with clickhouse_connect.get_client(dsn=self._there.clickhouse.url) as client:
            final = "" if written_once else "FINAL"
            place = "kafka_partition, kafka_offset"
            sql = f"SELECT count(), uniqExact({place}, step_index) FROM {database}.run_step_ledger {final}"  # noqa: S608
            rows, distinct = client.query(sql).result_rows[0]
            assert rows == distinct == len(ledger), (
                f"{rows} rows in the ledger, {distinct} distinct, {len(ledger)} true"
            )
            sql = f"SELECT count(), uniqExact({place}, step_id) FROM {database}.run_steps {final}"  # noqa: S608
            rows, distinct = client.query(sql).result_rows[0]
            assert rows == distinct, "rows in run_steps, and distinct ones"
            _agree(ledger, read_ledger(client, database))
            _agree(self.model.current, read_current(client, database))

    def check_dead_letters(self, *, sent_once: bool = False) -> None:
        """Compare the dead-letter topic with the records that had to be rejected: bytes, key, reason and origin."""
        dead_letters: dict[Origin, tuple[bytes | None, bytes | None, str]] = {}
        records = read_topic(self._there.kafka, f"{self._there.topic}.dlq")
        for record in records:
            said = dict(record.headers)
            assert said["runstep-topic"].decode() == self._there.topic
            origin = int(said["runstep-partition"]), int(said["runstep-offset"])
            dead_letters[origin] = record.key, record.value, said["runstep-reason"].decode()
        _agree(self._refused, dead_letters)
        assert len(records) == len(dead_letters) or not sent_once, "a dead letter was sent twice"

    def difference(self, samples: Samples) -> str:
        """Return in what the counters differ from the model; '' where they do not."""
        return difference(self.model.samples, samples)

    def excess(self, samples: Samples) -> str:
        """Return which counters are above the model; '' where none is."""
        true = self.model.samples
        # Sums of seconds are floats that were added up in another order.
        above = {name: value for name, value in samples.items() if value > true.get(name, 0) + 0.01}
        return difference({name: true.get(name, 0) for name in above}, above)


def _agree(expected: Mapping[Any, Any], actual: Mapping[Any, Any]) -> None:
    found = difference(expected, actual)
    assert not found, found


def read_topic(kafka: KafkaAddress, topic: str) -> list[Any]:
    """Return all records of a topic that are there now."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        missing = sum(consumer.end_offsets(partitions).values())
        records: list[Any] = []
        deadline = time.monotonic() + WAIT
        while len(records) < missing:
            assert time.monotonic() < deadline, f"{len(records)} of {missing} records of {topic} could be read"
            for polled in consumer.poll(timeout_ms=500, max_records=20_000).values():
                records += polled
        return records
    finally:
        consumer.close()


def committed(there: Place, group: str) -> dict[int, int]:
    """Return the group's committed offsets by partition."""
    with closing(KafkaAdminClient(bootstrap_servers=there.kafka.bootstrap)) as admin:
        offsets = group_offsets(admin, group)
    return {partition.partition: found.offset for partition, found in offsets.items() if found.offset > 0}


def drained(daemon: Daemon) -> str:
    """End a daemon that has `http__final_scrape` by SIGTERM, as Prometheus sees it: return its last /metrics."""
    daemon.send(signal.SIGTERM)
    last = ""
    while daemon.running:
        # Once it has been asked for the last time it may end in the middle of an answer that came too late.
        with suppress(HTTPException):
            status, text = daemon.get("/metrics")
            last = text if status == HTTP_OK else last
        time.sleep(0.05)
    assert daemon.wait_until_ended() == 0, daemon.log()
    return last


def status(daemon: Daemon) -> dict[str, Any]:
    """Return what /status shows."""
    shown: dict[str, Any] = json.loads(daemon.get("/status")[1])
    return shown


def wait_until_counted(daemon: Daemon, records: int) -> None:
    """Wait until one daemon has counted so many records: what is committed is in its metrics a moment later."""

    def counted() -> int:
        return sum(status(daemon)["counts"].values())

    until(lambda: counted() >= records, lambda: f"counted {counted()} of {records} records")


def summed(texts: Iterable[str]) -> Samples:
    """Return the counters of several processes added up."""
    total: defaultdict[str, float] = defaultdict(float)
    for text in texts:
        for name, value in read_samples(text).items():
            total[name] += value
    return {name: round(value, 3) for name, value in total.items()}


def until(condition: Callable[[], bool], otherwise: str | Callable[[], str], timeout: float = WAIT) -> None:
    """Wait for a condition; after that long say what is the matter."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(0.05)
