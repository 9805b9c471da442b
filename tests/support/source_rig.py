"""A topic, a group and its members on real Kafka, for tests of the source."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaTimeoutError, TopicAlreadyExistsError

from pipeline.config import KafkaSettings
from pipeline.contracts import Change
from pipeline.errors import SourceUnavailable
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.source.recovery import MAX_UNREADABLE_OFFSETS
from pipeline.records import Partition
from tests.support.group_offsets import group_offsets
from tests.support.member_reader import MemberReader


def numbered(start: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


class Reader(MemberReader[KafkaSource]):
    """A reader of real Kafka: polls through outages, and waits."""

    def poll(self) -> None:
        with suppress(SourceUnavailable):
            super().poll()

    def until(self, condition: Callable[[], bool], *others: "Reader") -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (self.values(), self.changes, self.member.troubles)
            for reader in (self, *others):
                reader.poll()

    def read(self, *values: bytes) -> None:
        """Poll until all of them have come, however often."""
        self.until(lambda: set(values) <= set(self.values()))

    def started(self) -> bool:
        """Return whether no partition waits for its start."""
        return not self.member._partitions.unstarted

    def reported(self, kind: type[Change]) -> list[Change]:
        return [change for change in self.changes if isinstance(change, kind)]

    def commit(self, offsets: dict[Partition, int]) -> None:
        self.until(lambda: self.member.commit(offsets) == frozenset(offsets))


class World:
    """A topic of two partitions with a group of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.producer = self.new_producer()
        self.readers: list[Reader] = []

    def reader(
        self, max_unreadable_offsets: int = MAX_UNREADABLE_OFFSETS, worker_id: str | None = None, **settings: Any
    ) -> Reader:
        chosen = {
            "bootstrap_servers": (self.bootstrap,),
            "topics": (self.topic,),
            "group_id": f"group-{self.topic}",
            "session_timeout": 10.0,
            "heartbeat_interval": 0.5,
        } | settings
        source = KafkaSource(
            lambda: KafkaSettings(**chosen),
            1_000,
            max_unreadable_offsets=max_unreadable_offsets,
            worker_id=worker_id,
        )
        self.readers.append(Reader(source))
        return self.readers[-1]

    def assigned(self, **settings: Any) -> Reader:
        reader = self.reader(**settings)
        reader.until(lambda: len(reader.owned) == 2 and reader.member.joined() and reader.started())
        return reader

    def produce(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.producer.send(self.topic, value=value, partition=partition)
        self.producer.flush(timeout=20)

    def new_producer(self) -> KafkaProducer:
        return KafkaProducer(bootstrap_servers=self.bootstrap)

    def produce_anew(self, *values: bytes, partition: int = 0) -> None:
        """Produce with a new client, which knows nothing of the former topic or broker."""
        self.producer.close(timeout=2)
        self.producer = self.new_producer()
        self.produce(*values, partition=partition)

    def partition(self, number: int = 0) -> Partition:
        return Partition(self.topic, number)

    def committed(self, number: int = 0) -> int | None:
        """Return what other tools see as the group's offset."""
        with self.admin() as admin:
            offsets = group_offsets(admin, f"group-{self.topic}")
        mark = offsets.get(TopicPartition(self.topic, number))
        return None if mark is None else mark.offset

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        yield admin
        admin.close()

    def make_topic(self, partitions: int = 2) -> None:
        """Make the topic; where it was just deleted, Kafka takes a moment."""
        deadline = time.monotonic() + 20
        with self.admin() as admin:
            while True:
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics([NewTopic(self.topic, partitions, 1)])
                    return
                assert time.monotonic() < deadline

    def recreate_topic(self) -> None:
        """Delete and recreate the topic, before any member can notice."""
        with self.admin() as admin:
            admin.delete_topics([self.topic])
        self.make_topic()

    def close(self) -> None:
        for reader in self.readers:
            reader.member.close()
        with suppress(KafkaTimeoutError):
            self.producer.close(timeout=2)


class PrivateWorld(World):
    """A topic on a broker of its own, whose log can be tampered with while it is stopped."""

    def __init__(self, broker: Any) -> None:
        super().__init__(broker.bootstrap, "private")
        self.broker = broker
        self.make_topic()

    def folder(self, partition: int = 0) -> Path:
        """Return where the broker keeps a partition."""
        return Path(self.broker.folder / "log" / f"{self.topic}-{partition}")

    @contextmanager
    def stopped(self) -> Iterator[Path]:
        """Stop the broker, give its log of partition 0, and start it again."""
        self.broker.stop()
        yield self.folder()
        self.broker.start()

    def corrupt(self, *values: bytes) -> None:
        """Damage the batches that hold these values, where they are kept."""
        with self.stopped() as folder:
            (segment,) = folder.glob("*.log")
            data = bytearray(segment.read_bytes())
            for value in values:
                data[data.index(value)] ^= 0xFF
            segment.write_bytes(data)
