"""Finds the original record of a dead letter: in the dead letter, or, where that is cut, at its origin in Kafka."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from kafka.structs import TopicPartition

from pipeline.kafka.log_reader import LogReader, TopicMissing
from pipeline.records import Reason, Stage, UnreadRecord
from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity


class Found(NamedTuple):
    """What was found for a dead letter.

    Attributes:
        dead_letter: the dead letter's own record; None where the topic holds it no more.
        original: a record with the original key, value and headers, beside those of runstep; None where none is left.
        cause: why there is no original.
    """

    dead_letter: Any
    original: Any = None
    cause: str = ""


class Originals:
    """Looks up records in one cluster."""

    def __init__(self, reader: LogReader, topic: str, origins: Collection[str] | None = None) -> None:
        """Look in `topic` for dead letters, and for the records of cut ones in `origins`; None for anywhere."""
        self._reader = reader
        self._origins = origins
        self._topic = topic
        self._sizes: dict[str, int] = {}

    def of(self, dead_letters: Sequence[DeadLetter]) -> Mapping[Identity, Found]:
        """Return for each dead letter its own record and its original.

        Raises:
            ConfigError: the Kafka user may not see a topic.
            ServiceUnavailable: Kafka does not answer.
        """
        wanted = defaultdict(list)
        for dead_letter in dead_letters:
            wanted[dead_letter.partition].append(dead_letter.offset)
        records = {
            (record.partition, record.offset): record
            for partition, offsets in wanted.items()
            for record in self._reader.at(TopicPartition(self._topic, partition), offsets)
        }
        lying = (
            (dead_letter, records.get((dead_letter.partition, dead_letter.offset))) for dead_letter in dead_letters
        )
        return {dead_letter.identity: self._found(dead_letter, record) for dead_letter, record in lying}

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic; 0 where the topic does not exist.

        Raises:
            ConfigError: the Kafka user may not see the topic; that is not the dead letter's fault.
        """
        if topic not in self._sizes:
            try:
                self._sizes[topic] = len(self._reader.partitions(topic))
            except TopicMissing:
                self._sizes[topic] = 0
        return self._sizes[topic]

    def _found(self, dead_letter: DeadLetter, record: Any) -> Found:
        if record is None:
            return Found(None, cause="the dead letter is no longer in the dead-letter topic")
        if dead_letter.stage == Stage.FETCH and dead_letter.reason != Reason.TOO_LARGE:
            return Found(record, cause="the daemon could not read the record, so the dead letter has no value")
        if dead_letter.stage == Stage.FETCH or dead_letter.sha256:
            return self._at_origin(dead_letter, record)
        return Found(record, record)

    def _at_origin(self, dead_letter: DeadLetter, record: Any) -> Found:
        topic, partition, offset, timestamp, _ = dead_letter.identity
        cut = f"the dead letter holds only the first part of {dead_letter.size:,} bytes, and"
        if not dead_letter.sha256:
            cut = "the dead letter of a record that is too large holds no value, and"
        if self._origins is not None and topic not in self._origins:
            # A forged dead letter would copy a record of any topic that this user may read.
            return Found(record, cause=f"{cut} its origin is not one of kafka.topics; --any-topic reads others, too")
        if partition >= self.partitions(topic):
            return Found(record, cause=f"{cut} its origin is gone")
        for original in self._reader.at(TopicPartition(topic, partition), [offset]):
            if isinstance(original, UnreadRecord):
                return Found(record, cause=f"{cut} its origin is too large to be read here, too")
            same = dead_letter.sha256 in {"", hashlib.sha256(original.value or b"").hexdigest()}
            if same and original.timestamp == timestamp:
                return Found(record, original)
            return Found(record, cause=f"{cut} its origin holds another record now")
        return Found(record, cause=f"{cut} Kafka no longer holds the original")
