"""The source: a kafka-python consumer that loses nothing silently.

Owns every trap of the client: no automatic commit, no automatic reset (the only policy that reports lost offsets), no
deserializers, callbacks that only enqueue, a pause that also covers partitions which come later, and what an exception
of `poll` means. Only the owner's thread calls it. Observed with kafka-python 3.0.12 on Kafka 4.3.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    KafkaError,
    KafkaTimeoutError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownBrokerIdError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.contracts import Assigned, Change, OffsetsLost, Withdrawn
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.records import Partition, Record
from pipeline.source.consumer import Inbox, Troubles, make_consumer, name, offsets, words
from pipeline.source.positions import Positions

log = structlog.get_logger(__name__)

PATIENCE_MS: Final = 1_000
"""How long one answer is waited for: a member that does not poll holds up its whole group."""
MOST_PATIENCE_MS: Final = 8_000
"""A coordinator that needs longer than that for a commit is waited for with more patience each time, up to this."""
CLOSE_TIMEOUT_MS: Final = 3_000
SILENCE: Final = 2
"""So many questions without an answer, one after the other, and the brokers count as away."""

_NAMED: Final = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)")


class KafkaSource:
    """A member of the consumer group, connected at the first poll and again after a fault that the client keeps.

    Attributes:
        halted: partitions that are not read on, with the cause; a person must look at them.
        troubles: what does not work (`commit`, `start`, `brokers`), with the cause; poll itself shows none of it.
    """

    def __init__(self, settings: KafkaSettings, max_records: int) -> None:
        self._settings = settings
        self._max_records = min(settings.poll_records, max_records)
        self._inbox = Inbox()
        self._positions = Positions(settings)
        self._changes: list[Change] = []
        self._owned: set[TopicPartition] = set()
        self._unstarted: set[TopicPartition] = set()
        self._consumer: Any = None
        self._held = False
        self._patience_ms = PATIENCE_MS
        self._unanswered = 0
        self.halted: dict[Partition, str] = {}
        self.troubles = Troubles()

    def poll(self, timeout: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what arrived; see `contracts.Source`."""
        if self._consumer is None:
            self._consumer = make_consumer(self._settings, self._max_records, self._inbox)
        consumer = self._consumer
        if self._held:
            consumer.pause(*consumer.assignment())
        try:
            polled = consumer.poll(timeout_ms=int(timeout * 1000), max_records=self._max_records)
        except KafkaError as error:
            polled = {}
            self._follow_inbox()
            self._survive(error)
        self._follow_inbox()
        untimely = self._start_new()
        timely = {partition: records for partition, records in polled.items() if partition not in untimely}
        self._positions.returned(timely)
        self._read_recreated_again()
        return {name(partition): records for partition, records in timely.items()}

    def changes(self) -> Sequence[Change]:
        """Return what happened to our partitions since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit next offsets of partitions that are ours; see `contracts.Source`.

        The coordinator accepts a commit for any partition from any current member, so what is no longer assigned is
        left out here, on the polling thread, where the assignment cannot change meanwhile.

        Raises:
            ConfigError: another member goes by our `group_instance_id`.
        """
        if self._consumer is None:
            return None
        assigned = self._consumer.assignment()
        ours = {p: offset for p, offset in offsets.items() if TopicPartition(*p) in assigned}
        if not ours:
            return frozenset()
        try:
            self._consumer.commit(
                {TopicPartition(*p): OffsetAndMetadata(offset, "", -1) for p, offset in ours.items()},
                timeout_ms=self._patience_ms,
            )
        except FencedInstanceIdError as error:
            raise self._fenced() from error
        except (RebalanceInProgressError, CommitFailedError) as error:
            log.debug("commit deferred", cause=str(error))
            return None
        except KafkaError as error:
            if isinstance(error, KafkaTimeoutError):
                self._patience_ms = min(self._patience_ms * 2, MOST_PATIENCE_MS)
            self.troubles.begin("commit", f"offsets cannot be committed: {error}")
            return None
        self._patience_ms = PATIENCE_MS
        self.troubles.end("commit")
        return frozenset(ours)

    def joined(self) -> bool:
        """Return whether we are a member of the group, with or without partitions. For any thread."""
        consumer = self._consumer
        return consumer is not None and consumer.group_metadata().state is MemberState.STABLE

    def hold(self) -> None:
        """Deliver nothing from the next poll on."""
        self._held = True

    def release(self) -> None:
        """Deliver again, but not from halted partitions."""
        if self._held and self._consumer is not None:
            kept_back = {TopicPartition(*partition) for partition in self.halted} | self._unstarted
            self._consumer.resume(*(self._consumer.assignment() - kept_back))
        self._held = False

    def lags(self) -> Mapping[Partition, int]:
        """Return the records that Kafka holds and we have not read; empty while Kafka is away."""
        consumer = self._consumer
        if consumer is None:
            return {}
        started = (self._owned & consumer.assignment()) - self._unstarted
        if not started:
            return {}
        try:
            ends = offsets(consumer.end_offsets, started, PATIENCE_MS)
            # Without a time-out of 0 each of them could wait, one after the other.
            positions = {partition: consumer.position(partition, timeout_ms=0) for partition in ends}
        except KafkaError as error:
            self._unanswered += 1
            if self._unanswered >= SILENCE:
                self.troubles.begin("brokers", f"Kafka does not answer: {error}")
            return {}
        self._unanswered = 0
        self.troubles.end("brokers")
        return {name(p): max(ends[p] - position, 0) for p, position in positions.items() if position is not None}

    def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)
            except KafkaError as error:
                log.warning("the group was not left in good order", cause=str(error))

    def _follow_inbox(self) -> None:
        """Turn what the listener saw into changes."""
        while self._inbox.seen:
            kind, partition = self._inbox.seen.popleft()
            if kind == "assigned":
                self._owned.add(partition)
                self._unstarted.add(partition)
                self._changes.append(Assigned(name(partition)))
            elif partition in self._owned:
                self._owned.discard(partition)
                self._unstarted.discard(partition)
                self._positions.forget(partition)
                self.halted.pop(name(partition), None)
                self._changes.append(Withdrawn(name(partition), lost=kind == "lost"))

    def _start_new(self) -> set[TopicPartition]:
        """Start new partitions, for `PATIENCE_MS` at most; the others wait for the next poll and do not flow before.

        Returns:
            Partitions of which this poll's records are to be thrown away: they come again, from the right offset.
        """
        untimely = set(self._unstarted)
        waiting = sorted(untimely & self._consumer.assignment())
        deadline = time.monotonic() + PATIENCE_MS / 1000
        try:
            while waiting and time.monotonic() < deadline:
                self._positions.start(self._consumer, waiting[0], PATIENCE_MS)
                self._consumer.resume(waiting[0])
                self._unstarted.discard(waiting.pop(0))
            self.troubles.end("start")
        except KafkaError as error:
            self.troubles.begin("start", f"new partitions wait for their committed offset: {error}")
        for partition in waiting:
            self._consumer.pause(partition)
            # Whatever it is: while a partition has no position, poll raises, and nothing of the others comes either.
            self._consumer.seek(partition, 0)
        return untimely

    def _read_recreated_again(self) -> None:
        """Read a topic that was made again from its start: the client would go on where it was in the old one."""
        for topic in self._positions.recreated(self._consumer):
            log.error("the topic was deleted and made again: it is read from its start", topic=topic)
            started = (self._owned & self._consumer.assignment()) - self._unstarted
            self._positions.move_to_beginning(self._consumer, [p for p in started if p.topic == topic])

    def _survive(self, error: KafkaError) -> None:
        """React to an exception of `poll`, before the next one.

        Raises:
            SourceUnavailable: nothing can be read now.
        """
        self._positions.rewind(self._consumer)
        try:
            self._heal(error)
        except KafkaError as second:
            if not second.retriable:
                self._restart(f"{error}; then: {second}")
            log.debug("poll failed, it is tried again", cause=str(error), then=str(second))

    def _heal(self, error: KafkaError) -> None:
        match error:
            case NoOffsetForPartitionError() | UnknownBrokerIdError():
                log.debug("poll failed: new partitions are started, new brokers are asked for", cause=str(error))
            case OffsetOutOfRangeError():
                self._step_over_lost(error.args[0])
            case LogTruncationError():
                self._positions.follow_truncation(self._consumer, error)
            case FencedInstanceIdError():
                raise self._fenced() from error
            case _ if error.retriable:
                log.debug("poll failed, the client goes on by itself", cause=str(error))
            case _ if (named := _NAMED.search(str(error))) is not None:
                self._halt(TopicPartition(named[1], int(named[2])), str(error))
            case _ if "Authorization" in type(error).__name__ or "Authentication" in type(error).__name__:
                raise SourceUnavailable(f"Kafka refuses us: {error}") from error
            case _:
                self._restart(str(error))

    def _step_over_lost(self, wanted: Mapping[TopicPartition, int]) -> None:
        """Tell exactly which offsets Kafka dropped before they were read, then go on or halt, as set."""
        ours = wanted.keys() & self._consumer.assignment()
        begins = offsets(self._consumer.beginning_offsets, ours, PATIENCE_MS) if ours else {}
        for partition, begin in begins.items():
            offset = wanted[partition]
            if offset < begin:
                cause = f"offsets {offset} to {begin - 1} were dropped by Kafka unread"
                self._changes.append(OffsetsLost(name(partition), offset, begin - 1))
            else:
                cause = f"the log ends before offset {offset}, which is next: truncated, or made again"
            log.error("the log is not where it was", **words(partition), cause=cause)
            if self._settings.on_lost_offsets == "halt":
                self._halt(partition, f"{cause}, and kafka.on_lost_offsets is halt")
            else:
                self._positions.move(self._consumer, partition, begin)

    def _halt(self, partition: TopicPartition, cause: str) -> None:
        """Stop reading one partition, at once and until a person looks; the others flow on."""
        if partition not in self._consumer.assignment():
            return
        self._consumer.pause(partition)
        if name(partition) not in self.halted:
            log.error("partition halted", **words(partition), cause=cause)
        self.halted[name(partition)] = cause

    def _fenced(self) -> ConfigError:
        own = self._settings.group_instance_id
        return ConfigError(f"another member goes by kafka.group_instance_id {own!r}: give each process its own")

    def _restart(self, cause: str) -> None:
        """Give up this consumer; the next poll makes another, which starts at the committed offsets.

        Raises:
            SourceUnavailable: always.
        """
        log.warning("consumer is made again", cause=cause)
        self.close()
        self._inbox.seen.clear()
        for partition in sorted(self._owned):
            self._positions.forget(partition)
            self._changes.append(Withdrawn(name(partition), lost=True))
        self._owned.clear()
        self._unstarted.clear()
        self.halted.clear()
        self.troubles.clear()
        raise SourceUnavailable(cause)
