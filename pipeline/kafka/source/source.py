"""The source: a kafka-python consumer that loses nothing silently.

Owns the answers to the client's traps: no automatic commit or reset (the only policy that reports lost offsets), no
deserializers, callbacks that only enqueue, a pause that also covers partitions which come later. For the owner's
thread, but for `joined` and the attributes. Observed with kafka-python 3.0.12 on Kafka 4.3.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.contracts import Change, Progress
from pipeline.errors import SourceUnavailable
from pipeline.kafka.group_internals import settled_generation
from pipeline.kafka.source.broker_health import BrokerHealth
from pipeline.kafka.source.connecting import Connecting
from pipeline.kafka.source.consumer import ANSWER_TIMEOUT_MS, Inbox, Troubles, cause_of, make_consumer, name, ousted
from pipeline.kafka.source.ownership import Ownership
from pipeline.kafka.source.partitions import Partitions
from pipeline.kafka.source.positions import Positions
from pipeline.kafka.source.recovery import MAX_UNREADABLE_OFFSETS, Recovery
from pipeline.kafka.unpacking import MAX_RECORD_BYTES
from pipeline.records import Partition, Record

log = structlog.get_logger(__name__)

MAX_COMMIT_TIMEOUT_MS: Final = 8_000
"""The time-out of a commit begins at `ANSWER_TIMEOUT_MS` and doubles whenever the coordinator is slower, up to this."""
CLOSE_TIMEOUT_MS: Final = 3_000


class KafkaSource:
    """A member of the consumer group, connected at the first polls and again after a fault that the client keeps.

    Attributes:
        halted: partitions that are not read on, with the cause.
        troubles: what does not work (`commit`, `start`, `brokers`, `topics`), with the cause; poll shows none of it.
        brokers: what else is noticed: quotas, open transactions, members of other programs.
    """

    def __init__(
        self,
        settings: Callable[[], KafkaSettings],
        max_records: int,
        max_unreadable_offsets: int = MAX_UNREADABLE_OFFSETS,
        max_record_bytes: int = MAX_RECORD_BYTES,
        worker_id: str | None = None,
    ) -> None:
        """Prepare; nothing is opened before the first poll.

        Args:
            settings: read at each connection and when a login fails, so that renewed credentials are used.
            max_records: limit of one poll, if `kafka.poll_records` is not lower.
            max_unreadable_offsets: more damaged offsets than these in a row halt the partition.
            max_record_bytes: a record that is larger, with key and headers, is delivered as its place.
            worker_id: the name in the group of a worker without `kafka.group_instance_id`; see `make_consumer`.
        """
        self._read_settings = settings
        self._settings = settings()
        self._max_records = min(self._settings.poll_records, max_records)
        self._max_record_bytes = max_record_bytes
        self._worker_id = worker_id
        self._inbox = Inbox()
        self._connecting = Connecting(self._make)
        self._positions = Positions()
        self._partitions = Partitions(self._positions)
        self._recovery = Recovery(self._positions, self._partitions, max_unreadable_offsets)
        self._ownership = Ownership()
        self._consumer: Any = None
        self._paused = False
        self._outdated: str | None = None
        self._commit_timeout_ms = ANSWER_TIMEOUT_MS
        self.halted = self._partitions.halted
        self._troubles = Troubles()
        self.troubles = self._troubles.causes
        self.brokers = BrokerHealth(self._troubles, self._settings)

    def poll(self, timeout: float, most: int) -> Mapping[Partition, Sequence[Record]]:
        """Return what arrived; see `contracts.Source`."""
        if self._outdated is not None:
            self._recreate_consumer(self._outdated)
        if self._consumer is None:
            self._consumer = self._connecting.result(timeout)
            if self._consumer is None:
                return {}
        consumer = self._consumer
        if self._paused:
            consumer.pause(*consumer.assignment())
        try:
            polled = consumer.poll(timeout_ms=int(timeout * 1000), max_records=min(most, self._max_records))
        except KafkaError as error:
            polled = {}
            self._partitions.follow(self._inbox)
            self._handle(error)
        self._partitions.follow(self._inbox)
        self._recovery.notice_recreated(consumer, self._settings.topics)
        untimely = self._start_new()
        timely = {partition: records for partition, records in polled.items() if partition not in untimely}
        self._positions.delivered(timely)
        return {name(partition): records for partition, records in timely.items()}

    def changes(self) -> Sequence[Change]:
        """Return what happened to this member's partitions since the last call."""
        return self._partitions.events()

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit next offsets of partitions that are assigned to this member; see `contracts.Source`.

        The coordinator accepts a commit for any partition from any current member, so what is no longer assigned is
        left out here, on the polling thread, where the assignment cannot change meanwhile.

        Raises:
            ConfigError: another member has this `group_instance_id`.
        """
        consumer = self._consumer
        if consumer is None:
            return None
        owned = offsets.keys() & {name(partition) for partition in consumer.assignment()}
        marks = {TopicPartition(*p): self._positions.mark(consumer, TopicPartition(*p), offsets[p]) for p in owned}
        return frozenset(owned) if not owned or self._commit(consumer, marks) else None

    def joined(self) -> bool:
        """Return whether this is a member of the group, with or without partitions. For any thread."""
        consumer = self._consumer
        return consumer is not None and consumer.group_metadata().state is MemberState.STABLE

    def generation(self) -> int | None:
        """Return the generation of the group in which this member has its share, None before. For any thread."""
        consumer = self._consumer
        return None if consumer is None else settled_generation(consumer)

    def pause(self) -> None:
        """Deliver nothing from the next poll on."""
        self._paused = True

    def resume(self) -> None:
        """Deliver again, but not from halted partitions."""
        if self._paused and self._consumer is not None:
            self._consumer.resume(*self._partitions.flowing(self._consumer))
        self._paused = False

    def halt(self, partition: Partition, cause: str) -> None:
        """Deliver nothing more of a partition."""
        if self._consumer is not None:
            self._partitions.halt(self._consumer, TopicPartition(*partition), cause)

    def resume_halted(self, partition: Partition) -> None:
        """Deliver a halted partition again, from its committed offset."""
        self._partitions.start_again(TopicPartition(*partition))

    def progress(self) -> Mapping[Partition, Progress]:
        """Return how far each partition is read; empty while Kafka is away.

        Asked every few seconds, it is also the time to commit offsets that were passed without a record, and to look
        whether silent brokers have moved or want other credentials.

        Raises:
            ConfigError: another member has this `group_instance_id`.
        """
        consumer = self._consumer
        if consumer is None:
            return {}
        self.brokers.look_for(consumer, self._settings.topics)
        started = self._partitions.started(consumer)
        ends = self.brokers.ends(consumer, started)
        if self.brokers.silent():
            self._look_for_credentials()
            return {}
        if self._settings.group_instance_id or self._worker_id:
            self._ownership.look_after(consumer, self._settings.topics, ANSWER_TIMEOUT_MS)
        passed = self._positions.passed(consumer, started)
        if passed:
            self._commit(consumer, passed)
        elif not self._positions.waiting(started):
            # What could not be committed is another member's by now.
            self._troubles.clear("commit")
        read = {p: self._positions.progress(consumer, p, end, name(p) in self.halted) for p, end in ends.items()}
        return {name(partition): progress for partition, progress in read.items() if progress is not None}

    def throttled(self) -> float:
        """Return for how many seconds brokers have made the daemon wait; see `contracts.Source`."""
        return self.brokers.throttling.seconds

    def close(self) -> None:
        """Leave the group."""
        self._connecting.abandon()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)
            except KafkaError as error:
                log.warning("group_leave_failed", message="the group was not left cleanly", cause=str(error))

    def _make(self) -> Any:
        """Return a consumer; on the thread that connects."""
        self._settings = self._read_settings()
        return make_consumer(self._settings, self._max_records, self._max_record_bytes, self._inbox, self._worker_id)

    def _commit(self, consumer: Any, marks: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
        """Commit; return False where it did not pass and is worth another try.

        Raises:
            ConfigError: another member has this `group_instance_id`.
        """
        try:
            consumer.commit(dict(marks), timeout_ms=self._commit_timeout_ms)
        except FencedInstanceIdError as error:
            self._outdated = ousted(self._settings, error)
            return False
        except (RebalanceInProgressError, CommitFailedError) as error:
            log.debug("commit_deferred", message="the commit is tried again after the next poll", cause=str(error))
            return False
        except KafkaError as error:
            if isinstance(error, KafkaTimeoutError):
                self._commit_timeout_ms = min(self._commit_timeout_ms * 2, MAX_COMMIT_TIMEOUT_MS)
            self._troubles.raise_("commit", f"offsets cannot be committed: {self.brokers.why(consumer, error)}")
            return False
        self._commit_timeout_ms = ANSWER_TIMEOUT_MS
        self._positions.committed(marks)
        self._troubles.clear("commit")
        return True

    def _start_new(self) -> set[TopicPartition]:
        """Start new partitions, for `ANSWER_TIMEOUT_MS` at most; the rest waits for the next poll, unread.

        Return those of which this poll's records are to be thrown away: they come again, from the right offset.
        """
        consumer, unstarted = self._consumer, self._partitions.unstarted
        untimely = set(unstarted)
        waiting = sorted(untimely & consumer.assignment())
        deadline = time.monotonic() + ANSWER_TIMEOUT_MS / 1000
        try:
            while waiting and time.monotonic() < deadline:
                self._positions.start(consumer, waiting[0], self._settings, ANSWER_TIMEOUT_MS)
                unstarted.discard(waiting.pop(0))
            self._troubles.clear("start")
        except KafkaError as error:
            self._troubles.raise_("start", f"new partitions have no offset yet: {self.brokers.why(consumer, error)}")
        consumer.resume(*(untimely & self._partitions.flowing(consumer)))
        for partition in waiting:
            consumer.pause(partition)
            # Any offset will do: while a partition has no position, poll raises and delivers nothing of the others.
            consumer.seek(partition, 0)
        return untimely

    def _handle(self, error: KafkaError) -> None:
        """React to an exception of `poll`, before the next one.

        Raises:
            SourceUnavailable: nothing can be read now.
            ConfigError: another member has this `group_instance_id`.
        """
        self._positions.rewind(self._consumer)
        if isinstance(error, FencedInstanceIdError):
            self._outdated = ousted(self._settings, error)
            return
        try:
            if self._recovery.recover(self._consumer, self._settings, error):
                return
        except KafkaError as second:
            if second.retriable:
                log.debug("poll_retried", message="poll failed, it is tried again", cause=str(error), then=str(second))
                return
            error = second
        refused = any(word in type(error).__name__ for word in ("Authorization", "Authentication"))
        if refused:
            self._look_for_credentials()
        else:
            self._recreate_consumer(cause_of(error))
        raise SourceUnavailable(f"Kafka refuses the daemon: {error}" if refused else cause_of(error)) from error

    def _look_for_credentials(self) -> None:
        """Recreate the consumer at the next poll if the settings have changed: it uses those that it was made with."""
        if self._read_settings() != self._settings:
            self._outdated = "credentials were renewed"

    def _recreate_consumer(self, cause: str) -> None:
        """Close this consumer; the next one starts at the committed offsets."""
        log.warning("consumer_recreated", message="the consumer is closed, and another one connects", cause=cause)
        if self._consumer is not None:
            self.brokers.leave(self._consumer)
        self.close()
        # The old consumer keeps the old inbox: what it may still report there does not count.
        self._inbox = Inbox()
        self._ownership = Ownership()
        self._partitions.withdraw_all()
        self._troubles.clear_all()
        self._outdated = None
