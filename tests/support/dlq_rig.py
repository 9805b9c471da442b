"""Dead letters on real Kafka for `runstep dlq`, as the daemon sends them, and what its readers see afterwards.

box.refuse([b"{broken"]); code, out, err = box.run("replay", "--yes"); box.returned()
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from pipeline.cli import execute
from pipeline.config import KafkaSettings
from pipeline.kafka.dead_letters import KafkaDeadLetters
from pipeline.records import InvalidRecord, Reason, Stage
from tests.servers.addresses import KafkaAddress
from tests.support.fakes.kafka import FakeRecord
from tests.support.oracle import until
from tests.support.paths import ROOT

STAMP: Final = 1_790_000_000_000
REPLAYED: Final = "runstep-replay-offset"


class Box:
    """The dead letters of one topic.

    Attributes:
        bootstrap: the broker.
        origin: where the records came from.
        topic: where the dead letters are.
    """

    def __init__(self, bootstrap: str, origin: str, topic: str) -> None:
        self.bootstrap = bootstrap
        self.origin = origin
        self.topic = topic

    def invalid(self, offset: int, value: bytes | None, **fields: Any) -> InvalidRecord:
        """Return a rejected record, which Kafka need not hold; `reason` and `stage` are the dead letter's."""
        reason, stage = fields.pop("reason", Reason.INVALID_JSON), fields.pop("stage", Stage.DECODE)
        key = f"thread_{offset}".encode()
        record = FakeRecord(self.origin, offset % 3, offset, STAMP + offset, key, value)._replace(**fields)
        return InvalidRecord(record, stage, reason, "why")

    def send(self, *dead_letters: InvalidRecord) -> None:
        """Send dead letters as the daemon does."""
        settings = KafkaSettings(bootstrap_servers=(self.bootstrap,))
        with closing(KafkaDeadLetters(lambda: settings, self.topic, 30.0, 30_000_000)) as queue:
            queue.send(dead_letters)

    def refuse(self, values: Iterable[bytes | None], **fields: Any) -> None:
        """Send a dead letter for each value; their offsets differ."""
        self.send(*(self.invalid(offset, value, **fields) for offset, value in enumerate(values)))

    def produce(self, value: bytes, key: bytes | None = b"key", headers: Sequence[Any] = ()) -> Any:
        """Append a record to partition 1 of the origin, and return it as Kafka has it."""
        with closing(KafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=30_000_000)) as producer:
            place = producer.send(self.origin, value, key, list(headers), 1).get(timeout=30)
        return next(record for record in self.records(self.origin) if (1, place.offset) == where(record))

    def records(self, topic: str) -> list[Any]:
        """Return what a reader of committed records sees of a topic, all of it."""
        with self._consumer() as consumer:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Any] = []
            for _ in range(600):
                if all(consumer.position(part) >= ends[part] for part in partitions):
                    return found
                for records in consumer.poll(timeout_ms=200, max_records=20_000).values():
                    found += records
        raise AssertionError(f"{topic} cannot be read up to {ends}")

    def returned(self) -> list[Any]:
        """Return the records that came back to the origin."""
        return [record for record in self.records(self.origin) if REPLAYED in dict(record.headers)]

    def make_topics(self) -> None:
        """Make both topics."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.create_topics([NewTopic(self.origin, 3, 1), NewTopic(self.topic, 2, 1)])

    def topics(self) -> list[str]:
        """Return the topics there are."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            return list(admin.list_topics())

    def written(self, topic: str) -> int:
        """Return how many offsets of a topic are taken, by what was undone and by markers too."""
        with closing(KafkaConsumer(bootstrap_servers=self.bootstrap)) as consumer:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            return sum(consumer.end_offsets(partitions).values())

    def limit(self, topic: str, size: int) -> None:
        """Let a topic take no larger batches."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.alter_configs([resource])

    def expire(self, topic: str, partition: int, below: int) -> None:
        """Let Kafka drop records."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.delete_records({TopicPartition(topic, partition): below})

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run `runstep dlq`; return exit code, output and complaints."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = execute(["dlq", *arguments])
        out.flush()
        assert "Traceback" not in err.getvalue()
        return code, out.buffer.getvalue().decode("utf-8", "surrogateescape"), err.getvalue()

    def answer(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Return the JSON answer of `runstep dlq`."""
        ended, out, err = self.run(*arguments, "--json")
        assert ended == code, err
        return dict(json.loads(out))

    def replaying(self) -> "subprocess.Popen[str]":
        """Start a replay of everything as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "dlq", "replay", "--yes"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        with closing(consumer):
            yield consumer


def where(record: Any) -> tuple[int, int]:
    """Return partition and offset of a record."""
    return record.partition, record.offset


def dead_letter_box(
    kafka: KafkaAddress, topic: Callable[..., str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Box:
    """Make an origin of three partitions and a dead-letter topic of two, and let commands find them."""
    made = Box(kafka.bootstrap, topic(partitions=3), topic(partitions=2))
    # A broker may be asked for a topic before it knows it.
    until(lambda: {made.origin, made.topic} <= set(made.topics()), "the topics do not appear")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", made.bootstrap)
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", made.origin)
    monkeypatch.setenv("RUNSTEP_DEAD_LETTER__TOPIC", made.topic)
    return made
