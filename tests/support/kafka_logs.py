"""The truth where Kafka's log is not what it was: cut, dropped, recreated, with gaps, or damaged for a while.

    before = held(s.there)
    ...Kafka drops some of it, and has other records at the same offsets...
    s.judge(truth=partial(LogTruth, earlier=before))

A record is known by its partition, its offset and its timestamp, as in the ledger. No step may come twice in such
a traffic (`sent_once`): whether a repetition counts depends on where the log was cut.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import clickhouse_connect
from kafka import KafkaConsumer, TopicPartition

from pipeline.tools.simulation import SimulatedEvent
from tests.support.model import Model, difference, read_current
from tests.support.oracle import WAIT, Load, Place, Truth, traffic
from tests.support.scenario import Scenario

_AGE: Final = 1_000
"""To the model, the second record at a place stands in a partition whose number is so much higher."""
_ROWS: Final = """
SELECT kafka_partition, kafka_offset, toUnixTimestamp64Milli(kafka_timestamp), step_index,
    outcome, reason, thread_id, run_id, step_id, type, status
FROM {database}.run_step_ledger {final}
"""


def sent_once(seed: int) -> Iterator[SimulatedEvent]:
    """Yield traffic without end in which nothing is repeated."""
    return traffic(seed, duplicate_ratio=0, page_ratio=0)


def further(s: Scenario, there: Place, events: Iterable[SimulatedEvent]) -> None:
    """Produce more, with a new client, which knows nothing of the former brokers and topics."""
    with Load(there, events) as load:
        load.finish()
    s.load.produced += load.produced


def held(there: Place) -> list[Any]:
    """Return all records that can be read now; offsets may have gaps."""
    with closing(
        KafkaConsumer(
            bootstrap_servers=there.kafka.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
    ) as consumer:
        places = [TopicPartition(there.topic, number) for number in consumer.partitions_for_topic(there.topic) or ()]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        records: list[Any] = []
        deadline = time.monotonic() + WAIT
        while any(consumer.position(place) < end for place, end in ends.items()):
            assert time.monotonic() < deadline, f"only {len(records)} records of {there.topic} could be read"
            for polled in consumer.poll(timeout_ms=500, max_records=20_000).values():
                records += polled
        return records


class LogTruth(Truth):
    """As `Truth`, of every record that Kafka ever let anybody read.

    Args:
        earlier: records that were read, and that Kafka may not have any more.
    """

    def __init__(
        self,
        there: Place,
        produced: Iterable[SimulatedEvent],
        read_at: int | None = None,
        *,
        earlier: Sequence[Any] = (),
    ) -> None:
        self._there = there
        self._refused = {}
        self._ages: dict[tuple[int, int, int], int] = {}
        self.model = Model(read_at)
        meant = {event.value: event for event in produced}
        records = {(r.partition, r.offset, r.timestamp): r for r in (*earlier, *held(there))}
        self.records = len(records)
        at_place: Counter[tuple[int, int]] = Counter()
        for place, record in records.items():
            self._ages[place] = at_place[place[:2]]
            at_place[place[:2]] += 1
            event = meant[record.value]
            self.model.add(event, record.partition + _AGE * self._ages[place], record.offset)
            if event.outcome == "dead_lettered":
                # What could not be read was not sent either.
                content = (None, b"") if event.reason == "unreadable" else (record.key, record.value)
                self._refused[record.partition, record.offset] = (*content, str(event.reason))

    def check_tables(self, *, written_once: bool = False) -> None:
        """Compare the ledger and the current steps with the model."""
        database = self._there.database
        with clickhouse_connect.get_client(dsn=self._there.clickhouse.url) as client:
            rows = client.query(_ROWS.format(database=database, final="" if written_once else "FINAL")).result_rows
            ledger = {}
            for partition, offset, timestamp, index, *rest in rows:
                # What could not be read has no timestamp.
                age = self._ages.get((partition, offset, timestamp), 0)
                known = rest if rest[0] == "stored" else rest[:2]
                ledger[partition + _AGE * age, offset, index] = tuple(known)
            assert len(rows) == len(ledger), f"{len(rows)} rows in the ledger, {len(ledger)} of them distinct"
            wrong = difference(self.model.ledger, ledger)
            assert not wrong, wrong
            current = {
                key: {**columns, "kafka_partition": columns["kafka_partition"] % _AGE}
                for key, columns in self.model.current.items()
            }
            wrong = difference(current, read_current(client, database))
            assert not wrong, wrong
