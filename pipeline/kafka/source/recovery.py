"""What an exception of `poll` means, and what is done before the next one.

Owns the ways around what Kafka does not have any more (dropped, truncated) or has and cannot give (a damaged batch).
Used by the owner's thread.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownBrokerIdError,
)
from kafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.contracts import OffsetsLost, Unreadable
from pipeline.kafka.record_batches import BrokenBatch
from pipeline.kafka.source.consumer import PATIENCE_MS, name, offsets, words
from pipeline.kafka.source.partitions import Partitions
from pipeline.kafka.source.positions import Positions

log = structlog.get_logger(__name__)

READS: Final = 3
"""So often a damaged batch is fetched before it counts as damaged: what was damaged on its way comes whole again."""
MOST_UNREADABLE: Final = 100_000
"""More offsets than that are not passed over at once: no batch is so large, so its end would be a wrong guess."""

_NAMED: Final = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)")


class Recovery:
    """Heals one partition at a time, so that the others flow on."""

    def __init__(self, positions: Positions, partitions: Partitions) -> None:
        self._positions = positions
        self._partitions = partitions
        self._told: dict[TopicPartition, range] = {}
        self._reads: dict[TopicPartition, tuple[int, int]] = {}

    def heal(self, consumer: Any, settings: KafkaSettings, error: KafkaError) -> bool:
        """React to an exception of `poll` that concerns single partitions; return whether it was one.

        Raises:
            KafkaError: the brokers did not answer; the next poll raises the same exception again.
        """
        match error:
            case NoOffsetForPartitionError() | UnknownBrokerIdError():
                log.debug("poll failed: new partitions are started, new brokers are asked for", cause=str(error))
            case OffsetOutOfRangeError():
                self._step_over_lost(consumer, settings, error.args[0])
            case LogTruncationError():
                self._follow_truncation(consumer, settings, error.divergent_offsets)
            case BrokenBatch():
                self._step_over_broken(consumer, settings, error)
            case _ if error.retriable:
                log.debug("poll failed, the client goes on by itself", cause=str(error))
            case _ if (named := _NAMED.search(str(error))) is not None:
                self._partitions.halt(consumer, TopicPartition(named[1], int(named[2])), str(error))
            case _:
                return False
        return True

    def recreated(self, topic: str) -> None:
        """Forget what was told of a topic that was made again: its offsets begin anew."""
        for book in (self._told, self._reads):
            for partition in [partition for partition in book if partition.topic == topic]:
                del book[partition]

    def _step_over_lost(self, consumer: Any, settings: KafkaSettings, wanted: Mapping[TopicPartition, int]) -> None:
        """Tell exactly which offsets Kafka dropped before they were read, then go on or halt, as set."""
        ours = wanted.keys() & consumer.assignment()
        begins = offsets(consumer.beginning_offsets, ours, PATIENCE_MS) if ours else {}
        for partition, begin in begins.items():
            offset = wanted[partition]
            if offset >= begin:
                cause = f"the log ends before offset {offset}, which is next: truncated, or made again"
                self._turn_back(consumer, settings, partition, OffsetAndMetadata(begin, "", -1), cause)
                continue
            self._tell_lost(partition, offset, begin - 1)
            if settings.on_lost_offsets == "halt":
                cause = f"offsets {offset} to {begin - 1} were dropped by Kafka unread"
                self._partitions.halt(consumer, partition, f"{cause}, and kafka.on_lost_offsets is halt")
            else:
                self._positions.skip(consumer, partition, begin)

    def _tell_lost(self, partition: TopicPartition, first: int, last: int) -> None:
        """Tell of lost offsets, of each once: a partition that was halted meets them every time it is resumed.

        It may also be resumed below what was told: what had been read by then, and not committed, is lost as well.
        """
        told = self._told.get(partition, range(first, first))
        if told.stop < first:
            told = range(first, first)
        for untold in (range(first, min(told.start, last + 1)), range(max(first, told.stop), last + 1)):
            if untold:
                log.error("offsets were dropped by Kafka unread", **words(partition), first=untold[0], last=untold[-1])
                self._partitions.tell(OffsetsLost(name(partition), untold[0], untold[-1]))
        self._told[partition] = range(min(first, told.start), max(last + 1, told.stop))

    def _follow_truncation(
        self, consumer: Any, settings: KafkaSettings, divergent: Mapping[TopicPartition, OffsetAndMetadata | None]
    ) -> None:
        """Go back to where the log and what we have read part; to its beginning where nobody knows."""
        ours = divergent.keys() & consumer.assignment()
        unknown = [partition for partition in ours if divergent[partition] is None]
        begins = offsets(consumer.beginning_offsets, unknown, PATIENCE_MS) if unknown else {}
        for partition in ours:
            place = divergent[partition] or OffsetAndMetadata(begins[partition], "", -1)
            cause = f"the log was truncated below what we had read, and goes on otherwise from offset {place.offset} on"
            self._turn_back(consumer, settings, partition, place, cause)

    def _turn_back(
        self,
        consumer: Any,
        settings: KafkaSettings,
        partition: TopicPartition,
        place: OffsetAndMetadata,
        cause: str,
    ) -> None:
        """Read on at a lower offset, or halt, as set; what was read behind it stays in the tables."""
        log.error("the log is not the one that was read", **words(partition), cause=cause)
        self._partitions.void(partition)
        self._told.pop(partition, None)
        self._positions.move(consumer, partition, place.offset, place.leader_epoch)
        if settings.on_lost_offsets == "halt":
            self._partitions.halt(consumer, partition, f"{cause}, and kafka.on_lost_offsets is halt")

    def _step_over_broken(self, consumer: Any, settings: KafkaSettings, error: BrokenBatch) -> None:
        """Fetch a damaged batch again; when that does not help, pass over it, but only as far as is proven."""
        partition, damage = error.partition, error.args[0]
        first, reads = self._reads.get(partition, (-1, 0))
        reads = reads + 1 if first == error.first else 1
        self._reads[partition] = (error.first, reads)
        if reads < READS:
            log.warning("a record batch is damaged, it is fetched again", **words(partition), cause=damage)
            return
        behind = self._behind(consumer, error)
        if behind is None:
            _fetch_more(consumer, settings)
            cause = f"{damage}; where it ends is not certain before a sound batch is behind it"
        elif settings.on_unreadable == "halt":
            cause = f"{damage}, and kafka.on_unreadable is halt"
        elif behind - error.first > MOST_UNREADABLE:
            cause = f"{damage}; {behind - error.first} offsets cannot be read, too many to pass over"
        else:
            log.error("offsets cannot be read", **words(partition), first=error.first, last=behind - 1, cause=damage)
            self._partitions.tell(Unreadable(name(partition), error.first, behind - 1, damage))
            self._positions.skip(consumer, partition, behind, self._epoch(consumer, partition))
            self._positions.give(partition, behind)
            return
        self._partitions.halt(consumer, partition, cause)

    def _behind(self, consumer: Any, error: BrokenBatch) -> int | None:
        """Return the offset that follows a damaged batch: the next sound one's, or the log's end where it says so too.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        if error.behind is not None:
            return error.behind
        end = offsets(consumer.end_offsets, [error.partition], PATIENCE_MS)[error.partition]
        return end if end == error.claimed > error.first else None

    def _epoch(self, consumer: Any, partition: TopicPartition) -> int:
        position = self._positions.position(consumer, partition)
        return -1 if position is None else position.leader_epoch


def _fetch_more(consumer: Any, settings: KafkaSettings) -> None:
    """Let the next fetches be larger: a damaged batch may fill one to its end, so that none shows what is behind it."""
    options = consumer._fetcher.config  # noqa: SLF001 - public only when the consumer is made
    options["max_partition_fetch_bytes"] = min(options["max_partition_fetch_bytes"] * 2, settings.fetch_max_bytes)
