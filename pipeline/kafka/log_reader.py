"""Reads parts of Kafka's log outside of any group: only committed transactions, and nothing is changed there.

For commands; the daemon reads with `source`. One thread only.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import OffsetSpec
from kafka.errors import InvalidTopicError, KafkaError, NoError, UnknownTopicOrPartitionError, for_code
from kafka.structs import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError, ServiceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.kafka.record_batches import install

MAX_GAP_OFFSETS: Final = 20_000
"""Between two wanted offsets that are not further apart, the log is read; across a wider gap the reader seeks."""
_POLL_MS: Final = 1_000
_MAX_IDLE_POLLS: Final = 15
"""Polls without a record and without progress, and Kafka counts as away."""
_ANSWER_TIMEOUT_MS: Final = 15_000
_MISSING: Final = (UnknownTopicOrPartitionError, InvalidTopicError)


class TopicMissing(ConfigError):
    """There is no such topic; one that is only hidden from this user is not missing."""


class LogReader:
    """Reads the logs of one cluster.

    Attributes:
        admin: the admin client, for other questions.
    """

    def __init__(self, admin: Any, consumer: Any) -> None:
        self.admin = admin
        self._consumer = consumer

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic.

        Raises:
            TopicMissing: there is no such topic.
            ConfigError: Kafka does not show it to this user.
            ServiceUnavailable: Kafka does not answer.
        """
        with answering():
            (described,) = self.admin.describe_topics([topic])
        error = for_code(described["error_code"])
        if error in _MISSING:
            raise TopicMissing(f"topic {topic} does not exist; see `runstep check --live`")
        if error is not NoError:
            raise ConfigError(f"Kafka does not show topic {topic}: {error.__name__}; see `runstep check --live`")
        return [TopicPartition(topic, part["partition_index"]) for part in described["partitions"]]

    def bounds(self, partitions: Sequence[TopicPartition]) -> tuple[dict[Any, int], dict[Any, int]]:
        """Return where each log begins, and the offset behind its last readable record.

        Raises:
            ServiceUnavailable: Kafka does not answer.
        """
        with answering():
            self._consumer.assign(partitions)
            starts = self._consumer.beginning_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
            return starts, self._consumer.end_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)

    def high_watermarks(self, partitions: Sequence[TopicPartition]) -> dict[Any, int]:
        """Return where each log ends, with the records of transactions that are still open.

        Raises:
            ServiceUnavailable: Kafka does not answer.
        """
        with answering():
            found = self.admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
        return {part: place.offset for part, place in found.items()}

    def read(self, part: TopicPartition, start: int, end: int) -> Iterator[Any]:
        """Yield the records from one offset to the one before another; one such reading at a time.

        Of a record larger than `unpacking.MAX_RECORD_BYTES` it is an `UnreadRecord`.

        Raises:
            ServiceUnavailable: Kafka does not deliver them.
        """
        with answering():
            self._consumer.assign([part])
            self._consumer.seek(part, start)
            position, idle = start, 0
            while position < end:
                for record in self._consumer.poll(timeout_ms=_POLL_MS).get(part, ()):
                    if record.offset >= end:
                        return
                    yield record
                moved = self._consumer.position(part, timeout_ms=_ANSWER_TIMEOUT_MS)
                idle = 0 if moved > position else idle + 1
                if idle >= _MAX_IDLE_POLLS:
                    raise ServiceUnavailable(
                        f"Kafka does not deliver offset {position} of {part.topic}/{part.partition}"
                    )
                position = moved

    def at(self, part: TopicPartition, offsets: Sequence[int]) -> Iterator[Any]:
        """Yield the records at these offsets, ascending; those that Kafka does not hold are left out.

        Raises:
            ServiceUnavailable: Kafka does not deliver them.
        """
        starts, ends = self.bounds([part])
        held = sorted({offset for offset in offsets if starts[part] <= offset < ends[part]})
        while held:
            near = 1
            while near < len(held) and held[near] - held[near - 1] < MAX_GAP_OFFSETS:
                near += 1
            together, held = set(held[:near]), held[near:]
            for record in self.read(part, min(together), max(together) + 1):
                if record.offset in together:
                    yield record


@contextmanager
def reading_logs(settings: KafkaSettings) -> Iterator[LogReader]:
    """Connect, and release both clients at the end.

    Raises:
        ServiceUnavailable: Kafka is away.
        ConfigError: kafka-python does not accept the settings.
    """
    options = client_options(settings)
    with closing(connect(KafkaAdminClient, **options)) as admin:
        consumer = connect(
            KafkaConsumer,
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
        )
        install(consumer)
        try:
            yield LogReader(admin, consumer)
        finally:
            consumer.close(autocommit=False, timeout_ms=_POLL_MS)


@contextmanager
def answering() -> Iterator[None]:
    """Let what Kafka's client raises be a service that is away.

    Raises:
        ServiceUnavailable: in its place.
    """
    try:
        yield
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from error
