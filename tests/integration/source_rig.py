"""A topic, a group and its members on real Kafka, for tests of the source."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from pipeline.config import KafkaSettings
from pipeline.contracts import Assigned, Change, Withdrawn
from pipeline.errors import SourceUnavailable
from pipeline.records import Partition, Record
from pipeline.source import KafkaSource


class Reader:
    """Polls a member as the processor does and keeps what came."""

    def __init__(self, member: KafkaSource) -> None:
        self.member = member
        self.records: list[Record] = []
        self.changes: list[Change] = []
        self.owned: set[Partition] = set()
        self.longest_poll = 0.0

    def poll(self) -> None:
        began = time.monotonic()
        polled: Any = {}
        with suppress(SourceUnavailable):
            polled = self.member.poll(0.1)
        self.longest_poll = max(self.longest_poll, time.monotonic() - began)
        for change in self.member.changes():
            self.changes.append(change)
            if isinstance(change, Assigned):
                self.owned.add(change.partition)
            elif isinstance(change, Withdrawn):
                self.owned.discard(change.partition)
        for records in polled.values():
            self.records.extend(records)

    def until(self, condition: Callable[[], bool], *others: "Reader") -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (self.values(), self.changes, self.member.troubles)
            for reader in (self, *others):
                reader.poll()

    def read(self, *values: bytes) -> None:
        """Poll until all of them have come, however often."""
        self.until(lambda: set(values) <= set(self.values()))

    def values(self, partition: int | None = None) -> list[bytes | None]:
        return [record.value for record in self.records if partition in {None, record.partition}]

    def commit(self, offsets: dict[Partition, int]) -> None:
        self.until(lambda: self.member.commit(offsets) == set(offsets))


class World:
    """A topic of two partitions with a group of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        self.readers: list[Reader] = []

    def reader(self, **settings: Any) -> Reader:
        chosen = {
            "bootstrap_servers": (self.bootstrap,),
            "topics": (self.topic,),
            "group_id": f"group-{self.topic}",
            "session_timeout": 10.0,
            "heartbeat_interval": 0.5,
        } | settings
        self.readers.append(Reader(KafkaSource(KafkaSettings(**chosen), 1_000)))
        return self.readers[-1]

    def assigned(self, **settings: Any) -> Reader:
        reader = self.reader(**settings)
        reader.until(lambda: len(reader.owned) == 2 and reader.member.joined() and not reader.member._unstarted)
        return reader

    def produce(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.producer.send(self.topic, value=value, partition=partition)
        self.producer.flush(timeout=20)

    def partition(self, number: int = 0) -> Partition:
        return Partition(self.topic, number)

    def close(self) -> None:
        for reader in self.readers:
            reader.member.close()
        with suppress(KafkaTimeoutError):
            self.producer.close(timeout=2)
