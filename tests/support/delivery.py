"""Sends records through real Kafka, the real daemon and real ClickHouse, and reads what became of them."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.daemon import Samples, migrate, running_daemon
from tests.support.expectations import COLUMNS

_ONE_BY_ONE: Final[dict[str, Any]] = {"kafka__poll_records": 1, "kafka__poll_timeout": 0.02, "batch__max_rows": 1}
_KEPT: Final = {"retention.ms": "-1"}
"""So that records may have whatever timestamp."""


class Sent(NamedTuple):
    """A record to produce; its name becomes its key."""

    name: str
    value: bytes | None
    timestamp: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass
class Delivery:
    """What became of the records: all rows of all tables, all dead letters, the last scrape."""

    topic: str
    offsets: dict[str, int]
    ledger: list[dict[str, Any]]
    steps: dict[str, list[dict[str, Any]]]
    current: list[dict[str, Any]]
    dead_letters: list[Any]
    metrics: Samples


@contextmanager
def deliver(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    admin: KafkaAdminClient,
    records: Sequence[Sent],
    *,
    alone: bool = False,
) -> Iterator[Delivery]:
    """Produce the records to a topic of one partition and yield when each is accounted for.

    Args:
        kafka: the cluster.
        clickhouse: the server.
        admin: of that cluster.
        records: with names of their own.
        alone: whether each record is inserted on its own and nothing is merged, so that `steps` has a row for each
            step of each record, also where a later record replaces it. Else `steps` is what the server has left.
    """
    topic = f"delivery-{uuid.uuid4().hex[:8]}"
    dead_letters, database = f"{topic}.dlq", topic.replace("-", "_")
    admin.create_topics([NewTopic(name, 1, 1, topic_configs=_KEPT) for name in (topic, dead_letters)])
    try:
        migrate(kafka, clickhouse, topic, database)
        if alone:
            clickhouse.query(f"SYSTEM STOP MERGES {database}.run_steps")
        offsets = produce(kafka, topic, records)
        with running_daemon(kafka, clickhouse, topic, database, **(_ONE_BY_ONE if alone else {})) as daemon:
            daemon.wait_until_accounted(120)
            metrics = daemon.metrics()
        yield Delivery(
            topic,
            offsets,
            _rows(clickhouse, f"{database}.run_step_ledger", "*"),
            _by_record(_rows(clickhouse, f"{database}.run_steps", f"kafka_offset, {', '.join(COLUMNS)}"), offsets),
            _rows(clickhouse, f"{database}.run_steps_current", f"kafka_offset, {', '.join(COLUMNS)}"),
            _read(kafka, dead_letters),
            metrics,
        )
    finally:
        clickhouse.query(f"DROP DATABASE IF EXISTS {database}")
        admin.delete_topics([topic, dead_letters])


def produce(kafka: KafkaAddress, topic: str, records: Sequence[Sent]) -> dict[str, int]:
    """Produce the records to a topic of one partition, and return the offset of each by its name."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    try:
        pending = {
            record.name: producer.send(
                topic,
                key=record.name.encode(),
                value=record.value,
                headers=list(record.headers),
                timestamp_ms=record.timestamp,
            )
            for record in records
        }
        return {name: future.get(timeout=30).offset for name, future in pending.items()}
    finally:
        producer.close()


def _rows(clickhouse: ClickHouseAddress, table: str, columns: str) -> list[dict[str, Any]]:
    sql = f"SELECT {columns} FROM {table} ORDER BY kafka_offset FORMAT JSONEachRow"  # noqa: S608 - the test's own names
    answer = clickhouse.query(sql, output_format_json_quote_64bit_integers="0")
    return [json.loads(line) for line in answer.split("\n") if line]


def _by_record(rows: Sequence[dict[str, Any]], offsets: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    names = {offset: name for name, offset in offsets.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(names[row["kafka_offset"]], []).append(row)
    return found


def _read(kafka: KafkaAddress, topic: str) -> list[Any]:
    """Return all records of a topic of one partition."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        records: list[Any] = []
        while len(records) < end:
            for polled in consumer.poll(timeout_ms=500).values():
                records.extend(polled)
        return records
    finally:
        consumer.close()
