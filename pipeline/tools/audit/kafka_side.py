"""Kafka's side of an audit: where the logs begin and end, what is committed, which offsets hold a record.

Reads with a consumer outside any group, and commits nothing.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Final, NamedTuple

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import CoordinatorNotAvailableError, KafkaError
from kafka.structs import TopicPartition

from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.kafka.log_reader import MAX_GAP_OFFSETS, LogReader, answering, reading_logs
from pipeline.records import Partition
from pipeline.tools.audit.account import Cause, Gap

MAX_DEAD_LETTERS: Final = 1_000_000
"""Dead letters that the audit reads at most."""
_COORDINATOR_TIMEOUT_S: Final = 10.0
_RETRY_INTERVAL_S: Final = 0.2


class Log(NamedTuple):
    """A partition's log: the first offset it holds, the one behind the last readable record, the committed one.

    What is `unstable` are the offsets behind that end: they wait until a producer's transaction ends.
    """

    start: int
    end: int
    committed: int | None
    unstable: int = 0


class DeadLetters(NamedTuple):
    """Origins of dead letters: topic, partition, offset; and the milliseconds before which they may have expired."""

    origins: frozenset[tuple[str, int, int]]
    since: float = 0
    skipped: str | None = None


class KafkaSide:
    """Reads from one Kafka cluster."""

    def __init__(self, settings: Settings, reader: LogReader) -> None:
        self._settings = settings
        self._reader = reader

    def logs(self) -> Mapping[Partition, Log]:
        """Return every partition of the configured topics; the committed offsets are asked for first.

        Raises:
            ConfigError: a topic does not exist.
            ServiceUnavailable: Kafka does not answer.
        """
        committed = self._committed(self._settings.kafka.group_id)
        partitions = [part for topic in self._settings.kafka.topics for part in self._reader.partitions(topic)]
        # First, so that what is produced meanwhile does not look as if it waited.
        last = self._reader.high_watermarks(partitions)
        starts, ends = self._reader.bounds(partitions)
        return {
            Partition(part.topic, part.partition): Log(
                starts[part], ends[part], _offset(committed.get(part)), max(last[part] - ends[part], 0)
            )
            for part in partitions
        }

    def _committed(self, group: str) -> Mapping[TopicPartition, Any]:
        """Return the group's offsets; a cluster that has seen no group yet first creates the topic that holds them."""
        deadline = time.monotonic() + _COORDINATOR_TIMEOUT_S
        with answering():
            while True:
                try:
                    found: Mapping[TopicPartition, Any] = self._reader.admin.list_group_offsets([group])[group]
                except CoordinatorNotAvailableError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_RETRY_INTERVAL_S)
                else:
                    return found

    def end(self, partition: Partition) -> int:
        """Return the offset behind the last record that can be read now.

        Raises:
            ServiceUnavailable: Kafka does not answer.
        """
        part = TopicPartition(*partition)
        _, ends = self._reader.bounds([part])
        return ends[part]

    def causes(self, partition: Partition, ranges: Iterable[tuple[int, int]], start: int) -> list[Gap]:
        """Return why the ledger lacks each range of offsets; a range with several causes becomes several gaps.

        Args:
            partition: the partition.
            ranges: first and last offset, ascending; 20,000 of them take some seconds.
            start: where the log begins.
        """
        gaps: list[Gap] = []
        held: list[tuple[int, int]] = []
        for first, last in ranges:
            if first < start:
                gaps.append(Gap(first, min(last, start - 1), "expired"))
            if last >= start:
                held.append((max(first, start), last))
        if not held:
            return gaps
        absent = self._cause_of_absence(partition.topic)
        records = list(self._records_in(partition, held))
        return [*gaps, *_split(held, records, absent)]

    def dead_letters(self) -> DeadLetters:
        """Return where the dead letters came from.

        Raises:
            ServiceUnavailable: Kafka does not answer.
        """
        topic = self._settings.dead_letter_topic
        try:
            partitions = self._reader.partitions(topic)
        except ConfigError as error:
            return DeadLetters(frozenset(), skipped=f"dead letters were not compared: {error}")
        starts, ends = self._reader.bounds(partitions)
        number = sum(ends[part] - starts[part] for part in partitions)
        if number > MAX_DEAD_LETTERS:
            return DeadLetters(
                frozenset(),
                skipped=f"dead letters were not compared: {topic} holds {number:,} records, too many to read",
            )
        origins, since = set(), 0.0
        for part in partitions:
            oldest = inf
            for record in self._reader.read(part, starts[part], ends[part]):
                origins |= _origin(record.headers)
                oldest = min(oldest, record.timestamp)
            since = max(since, oldest if starts[part] else 0)
        return DeadLetters(frozenset(origins), since)

    def _cause_of_absence(self, topic: str) -> Cause:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": None})
        try:
            policy = str(self._reader.admin.describe_configs([resource], config_filter="all"))
        except KafkaError:
            # The user may lack the right to see it; a compacted topic is the rarer case.
            return "transaction"
        return "compaction" if "compact" in policy.replace("compaction", "") else "transaction"

    def _records_in(self, partition: Partition, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        """Yield the offsets in the ranges at which Kafka holds a record."""
        waiting = deque(ranges)
        while waiting:
            first = waiting[0][0]
            together = [waiting.popleft()]
            while waiting and waiting[0][0] - together[-1][1] < MAX_GAP_OFFSETS:
                together.append(waiting.popleft())
            wanted = deque(together)
            for record in self._reader.read(TopicPartition(*partition), first, together[-1][1] + 1):
                while wanted and wanted[0][1] < record.offset:
                    wanted.popleft()
                if wanted and wanted[0][0] <= record.offset:
                    yield record.offset


@contextmanager
def open_kafka_side(settings: Settings) -> Iterator[KafkaSide]:
    """Connect to Kafka while the block runs.

    Raises:
        ServiceUnavailable: Kafka is away.
        ConfigError: kafka-python does not accept the settings.
    """
    with reading_logs(settings.kafka) as reader:
        yield KafkaSide(settings, reader)


def _split(ranges: Sequence[tuple[int, int]], records: Sequence[int], absent: Cause) -> Iterator[Gap]:
    """Cut ranges into gaps: offsets of which Kafka holds a record (lost), and others."""
    held = deque(records)
    for first, last in ranges:
        begin = first
        while held and held[0] <= last:
            lost_from = lost_to = held.popleft()
            while held and held[0] == lost_to + 1 <= last:
                lost_to = held.popleft()
            if begin < lost_from:
                yield Gap(begin, lost_from - 1, absent)
            yield Gap(lost_from, lost_to, "lost")
            begin = lost_to + 1
        if begin <= last:
            yield Gap(begin, last, absent)


def _offset(found: Any) -> int | None:
    return found.offset if found is not None and found.offset >= 0 else None


def _origin(headers: Iterable[tuple[str, bytes]]) -> set[tuple[str, int, int]]:
    texts = {name: value for name, value in headers if name.startswith("runstep-")}
    try:
        topic = texts["runstep-topic"].decode()
        return (
            {(topic, int(texts["runstep-partition"]), int(texts["runstep-offset"]))}
            if "runstep-reason" in texts
            else set()
        )
    except (KeyError, ValueError):
        return set()
