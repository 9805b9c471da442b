"""Notices producers' transactions that stay open: Kafka hands out nothing behind the first of them.

To a reader of committed records such a partition looks read to its end: its log ends where the transaction begins, at
the last stable offset. Used by the owner's thread, but for `held_back`.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from kafka import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.kafka.internals import high_watermark
from pipeline.kafka.source.consumer import log_fields, name
from pipeline.records import Partition

log = structlog.get_logger(__name__)


class _Standstill(NamedTuple):
    """A last stable offset with records behind it, and when it was first seen."""

    offset: int
    since: float


class OpenTransactions:
    """Compares where each partition ends for readers of committed records with where it ends for all others.

    Attributes:
        held_back: partitions whose end stands still behind an open transaction, with the cause. For any thread.
    """

    def __init__(self, settings: KafkaSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = settings.max_open_transaction
        self._servers = ",".join(settings.bootstrap_servers)
        self._now = now
        self._standing: dict[TopicPartition, _Standstill] = {}
        self.held_back: Mapping[Partition, str] = {}

    def look(self, consumer: Any, ends: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Return how many offsets lie behind the end of each partition, as the fetches of its records said.

        Args:
            consumer: the client; a partition that it has not fetched yet has no known high watermark.
            ends: the last stable offsets. A partition that is left out is forgotten.
        """
        behind = {part: max((high_watermark(consumer, part) or 0) - end, 0) for part, end in ends.items()}
        now = self._now()
        standing: dict[TopicPartition, _Standstill] = {}
        for part, offsets in behind.items():
            if offsets:
                known = self._standing.get(part)
                same = known is not None and known.offset == ends[part]
                standing[part] = known if known is not None and same else _Standstill(ends[part], now)
        self._standing = standing
        self._name({p: now - stand.since for p, stand in standing.items() if now - stand.since >= self._limit}, behind)
        return behind

    def forget(self) -> None:
        """Begin anew, as with another consumer."""
        self._standing, self.held_back = {}, {}

    def _name(self, lasting: Mapping[TopicPartition, float], behind: Mapping[TopicPartition, int]) -> None:
        before = self.held_back
        self.held_back = {name(p): self._cause(p, seconds, behind[p]) for p, seconds in lasting.items()}
        for part in lasting:
            if name(part) not in before:
                message = "records wait behind a transaction that a producer leaves open"
                log.warning("records_held_back", message=message, **log_fields(part), cause=self.held_back[name(part)])
        for partition in before.keys() - self.held_back.keys():
            message = "no open transaction holds records back any more"
            log.info("records_released", message=message, topic=partition.topic, partition=partition.number)

    def _cause(self, part: TopicPartition, seconds: float, offsets: int) -> str:
        start = self._standing[part].offset
        return (
            f"{offsets:,} offsets wait behind a transaction that a producer has left open at offset {start} for "
            f"{seconds:.0f} s or longer; run `kafka-transactions.sh --bootstrap-server {self._servers} find-hanging "
            f"--topic {part.topic} --partition {part.partition}`, or `runstep doctor`, which names the producer"
        )
