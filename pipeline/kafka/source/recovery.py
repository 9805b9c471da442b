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
from pipeline.kafka.internals import double_fetch_size
from pipeline.kafka.record_batches import DamagedBatch
from pipeline.kafka.source.consumer import ANSWER_TIMEOUT_MS, log_fields, name, offsets
from pipeline.kafka.source.partitions import Partitions
from pipeline.kafka.source.positions import Positions

log = structlog.get_logger(__name__)

MIN_READS_OF_DAMAGED: Final = 3
"""So often a damaged batch is fetched before it counts as damaged: what was damaged on its way comes whole again."""
MAX_UNREADABLE_OFFSETS: Final = 100_000
"""More offsets than that are not passed over at once: no batch is so large, so its end would be a wrong guess."""

_HALT_AT_LOST: Final = (
    "kafka.on_lost_offsets is halt; let the daemon read on without them with kafka.on_lost_offsets = continue"
)
_NAMED: Final = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)")


class Recovery:
    """Recovers one partition at a time, while the others are read."""

    def __init__(self, positions: Positions, partitions: Partitions, max_unreadable_offsets: int) -> None:
        self._positions = positions
        self._partitions = partitions
        self._max_unreadable_offsets = max_unreadable_offsets
        self._reported: dict[TopicPartition, range] = {}
        self._reads: dict[TopicPartition, tuple[int, int]] = {}

    def recover(self, consumer: Any, settings: KafkaSettings, error: KafkaError) -> bool:
        """React to an exception of `poll` that concerns single partitions; return whether it was one.

        Raises:
            KafkaError: the brokers did not answer; the next poll raises the same exception again.
        """
        match error:
            case NoOffsetForPartitionError() | UnknownBrokerIdError():
                message = "poll failed: new partitions are started, new brokers are asked for"
                log.debug("poll_retried", message=message, cause=str(error))
            case OffsetOutOfRangeError():
                self._pass_lost(consumer, settings, error.args[0])
            case LogTruncationError():
                self._follow_truncation(consumer, settings, error.divergent_offsets)
            case DamagedBatch():
                self._pass_damaged(consumer, settings, error)
            case _ if error.retriable:
                log.debug("poll_retried", message="poll failed: the client tries again by itself", cause=str(error))
            case _ if (named := _NAMED.search(str(error))) is not None:
                self._partitions.halt(consumer, TopicPartition(named[1], int(named[2])), str(error))
            case _:
                return False
        return True

    def notice_recreated(self, consumer: Any, topics: tuple[str, ...]) -> None:
        """Read a topic that was recreated from its start: the client would continue where it was in the old one."""
        for topic in self._positions.topics.recreated(consumer, topics):
            message = "the topic was deleted and recreated: it is read from its start"
            log.error("topic_recreated", message=message, topic=topic)
            self._forget(topic)
            for partition in sorted(self._partitions.started(consumer)):
                if partition.topic == topic:
                    self._partitions.void(partition)
                    self._partitions.start_again(partition)

    def _forget(self, topic: str) -> None:
        """Forget what was reported of a topic that was recreated: its offsets start from 0 again."""
        for known in (self._reported, self._reads):
            for partition in [partition for partition in known if partition.topic == topic]:
                del known[partition]

    def _pass_lost(self, consumer: Any, settings: KafkaSettings, wanted: Mapping[TopicPartition, int]) -> None:
        """Report exactly which offsets Kafka dropped before they were read; then pass over them or halt, as set."""
        assigned = wanted.keys() & consumer.assignment()
        begins = offsets(consumer.beginning_offsets, assigned, ANSWER_TIMEOUT_MS) if assigned else {}
        for partition, begin in begins.items():
            offset = wanted[partition]
            if offset >= begin:
                cause = f"the log ends before offset {offset}, which is next: truncated, or recreated"
                self._turn_back(consumer, settings, partition, OffsetAndMetadata(begin, "", -1), cause)
                continue
            self._report_lost(partition, offset, begin - 1)
            if settings.on_lost_offsets == "halt":
                cause = f"offsets {offset} to {begin - 1} were dropped by Kafka unread"
                self._partitions.halt(consumer, partition, f"{cause}, and {_HALT_AT_LOST}")
            else:
                self._positions.seek(consumer, partition, begin)

    def _report_lost(self, partition: TopicPartition, first: int, last: int) -> None:
        """Report lost offsets, each once: a partition that was halted meets them every time it is resumed.

        It may also be resumed below what was reported: what had been read by then, and not committed, is lost as well.
        """
        reported = self._reported.get(partition, range(first, first))
        if reported.stop < first:
            reported = range(first, first)
        below, behind = range(first, min(reported.start, last + 1)), range(max(first, reported.stop), last + 1)
        for lost in (below, behind):
            if lost:
                message = "offsets were dropped by Kafka unread"
                log.error("offsets_lost", message=message, **log_fields(partition), first=lost[0], last=lost[-1])
                self._partitions.emit(OffsetsLost(name(partition), lost[0], lost[-1]))
        self._reported[partition] = range(min(first, reported.start), max(last + 1, reported.stop))

    def _follow_truncation(
        self, consumer: Any, settings: KafkaSettings, divergent: Mapping[TopicPartition, OffsetAndMetadata | None]
    ) -> None:
        """Go back to where the log and what was read part; to the log's beginning where that is not known."""
        assigned = divergent.keys() & consumer.assignment()
        unknown = [partition for partition in assigned if divergent[partition] is None]
        begins = offsets(consumer.beginning_offsets, unknown, ANSWER_TIMEOUT_MS) if unknown else {}
        for partition in assigned:
            place = divergent[partition] or OffsetAndMetadata(begins[partition], "", -1)
            cause = f"the log was truncated below what was read, and continues otherwise from offset {place.offset} on"
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
        log.error("log_diverged", message="the log is not the one that was read", **log_fields(partition), cause=cause)
        self._partitions.void(partition)
        self._reported.pop(partition, None)
        self._positions.reset(consumer, partition, place.offset, place.leader_epoch)
        if settings.on_lost_offsets == "halt":
            self._partitions.halt(consumer, partition, f"{cause}, and {_HALT_AT_LOST}")

    def _pass_damaged(self, consumer: Any, settings: KafkaSettings, error: DamagedBatch) -> None:
        """Fetch a damaged batch again; when that does not help, pass over it, but only as far as is proven."""
        partition, damage = error.partition, error.args[0]
        first, reads = self._reads.get(partition, (-1, 0))
        reads = reads + 1 if first == error.first else 1
        self._reads[partition] = (error.first, reads)
        if reads < MIN_READS_OF_DAMAGED:
            message = "a record batch is damaged, it is fetched again"
            log.warning("batch_damaged", message=message, **log_fields(partition), cause=damage)
            return
        behind = self._behind(consumer, error)
        if behind is None:
            # A damaged batch may fill a fetch to its end, so that none shows what is behind it.
            double_fetch_size(consumer, settings.fetch_max_bytes)
            cause = f"{damage}; where it ends is not certain before a sound batch is behind it"
        elif settings.on_unreadable == "halt":
            cause = f"{damage}, and kafka.on_unreadable is halt; let it be passed over with kafka.on_unreadable = skip"
        elif behind - error.first > self._max_unreadable_offsets:
            cause = f"{damage}; {behind - error.first} offsets cannot be read, too many to pass over"
        else:
            self._report_unreadable(partition, range(error.first, behind), damage)
            self._positions.seek(consumer, partition, behind, self._epoch(consumer, partition))
            self._positions.mark_delivered(partition, behind)
            return
        self._partitions.halt(consumer, partition, cause)

    def _report_unreadable(self, partition: TopicPartition, place: range, damage: str) -> None:
        fields = {**log_fields(partition), "first": place[0], "last": place[-1]}
        log.error("offsets_unreadable", message="offsets cannot be read", **fields, cause=damage)
        self._partitions.emit(Unreadable(name(partition), place[0], place[-1], damage))

    def _behind(self, consumer: Any, error: DamagedBatch) -> int | None:
        """Return the offset that follows a damaged batch: the next sound one's, or the log's end where it says so too.

        Raises:
            KafkaError: the brokers did not answer in time.
        """
        if error.behind is not None:
            return error.behind
        end = offsets(consumer.end_offsets, [error.partition], ANSWER_TIMEOUT_MS)[error.partition]
        return end if end == error.claimed > error.first else None

    def _epoch(self, consumer: Any, partition: TopicPartition) -> int:
        position = self._positions.position(consumer, partition)
        return -1 if position is None else position.leader_epoch
