"""Notices producers' transactions that stay open: Kafka hands out nothing behind the first of them.

To a reader of committed records such a partition looks read to its end: its log ends where the transaction begins, at
the last stable offset. Used by the owner's thread, but for `held_back`.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import structlog
from kafka import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.kafka.internals import high_watermark
from pipeline.kafka.source.consumer import log_fields, name
from pipeline.records import Partition

log = structlog.get_logger(__name__)


class End(NamedTuple):
    """Where a partition ends for readers of committed records, and how many offsets lie behind that."""

    offset: int
    unstable: int
    since: float
    """When an end with offsets behind it was first seen there."""
    seen_at: float


class OpenTransactions:
    """Compares where each partition ends for readers of committed records with where it ends for all others.

    Attributes:
        held_back: partitions whose end stands still behind an open transaction, with the cause. For any thread.
    """

    def __init__(self, settings: KafkaSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = settings.max_open_transaction
        self._servers = ",".join(settings.bootstrap_servers)
        self._now = now
        self._ends: Mapping[TopicPartition, End] = {}
        self.held_back: Mapping[Partition, str] = {}

    def look(
        self, consumer: Any, found: Mapping[TopicPartition, int], wanted: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, End]:
        """Return the ends of partitions; the others are forgotten.

        Args:
            consumer: the client; where it has fetched nothing yet of a partition, nothing is known to lie behind.
            found: the last stable offsets, as far as the brokers have just named them.
            wanted: the partitions; where none was found, the end that was known before is returned.
        """
        now = self._now()
        known = self._ends
        new = {
            part: self._end(known.get(part), end, high_watermark(consumer, part), now) for part, end in found.items()
        }
        self._ends = ends = {part: end for part, end in {**known, **new}.items() if part in wanted}
        self._name({p: end for p, end in ends.items() if end.unstable and end.seen_at - end.since >= self._limit})
        return ends

    def forget(self) -> None:
        """Begin anew, as with another consumer."""
        self._ends, self.held_back = {}, {}

    @staticmethod
    def _end(before: End | None, offset: int, high: int | None, now: float) -> End:
        stands = before is not None and before.unstable and before.offset == offset
        return End(offset, max((high or 0) - offset, 0), before.since if before is not None and stands else now, now)

    def _name(self, lasting: Mapping[TopicPartition, End]) -> None:
        before = self.held_back
        self.held_back = {name(part): self._cause(part, end) for part, end in lasting.items()}
        for part in lasting:
            if name(part) not in before:
                message = "records wait behind a transaction that a producer leaves open"
                log.warning("records_held_back", message=message, **log_fields(part), cause=self.held_back[name(part)])
        for partition in before.keys() - self.held_back.keys():
            message = "no open transaction holds records back any more"
            log.info("records_released", message=message, topic=partition.topic, partition=partition.number)

    def _cause(self, part: TopicPartition, end: End) -> str:
        return (
            f"{end.unstable:,} offsets wait behind a transaction that a producer has left open at offset {end.offset} "
            f"for {end.seen_at - end.since:.0f} s or longer; run `kafka-transactions.sh --bootstrap-server "
            f"{self._servers} find-hanging --topic {part.topic} --partition {part.partition}`, or `runstep doctor`, "
            "which names the producer"
        )
