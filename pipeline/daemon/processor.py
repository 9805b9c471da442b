"""The pipeline on one screen: poll, normalize, append; insert, dead letters, commit, count.

Owns the order of things; runs on one thread, the owner's, which alone touches the consumer and never waits without
polling. Bad data is a value; an exception that arrives here is a bug, and ends the process without a commit.

For each batch, in this order: 1 insert, 2 dead letters (both by the writer), 3 commit of exactly the batch's next
offsets, 4 its numbers into the metrics. After a crash the next owner does all of it again: the tables are idempotent by
key, and what was not committed was not counted.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from pipeline.config import Settings
from pipeline.contracts import Change, Clock, Source, Unreadable, Withdrawn
from pipeline.daemon.assignments import Assignments
from pipeline.daemon.batch import Assignment, Batch, Part, Weight
from pipeline.daemon.unread import Portion, Unread
from pipeline.daemon.writer import Writer
from pipeline.errors import SourceUnavailable
from pipeline.metrics import Metrics
from pipeline.metrics.counts import tally
from pipeline.normalize.normalize import Normalized, Rules, normalize, unreadable
from pipeline.records import Partition, Record, plausible

log = structlog.get_logger(__name__)

SOURCE_RETRY_S: Final = 1.0
"""Before Kafka is polled again after it could not be."""

SLICE: Final = 500
"""Records that become rows before the rows become columns: few enough to stay in the processor's caches."""

SLICE_BYTES: Final = 2_097_152
"""Bytes that they occupy in memory, but for the last of them: no clock is looked at within a slice."""

TURN_S: Final = 1.0
"""For making rows in one turn: then Kafka is polled, and the loop shows that it is alive, before the rest is read."""


_NOTHING: Final = Normalized((), ())


class Processor:
    """Moves records from the source to the writer, and commits what the writer made durable.

    Attributes:
        assignments: this member's partitions.
        source_trouble: why nothing can be read, or None.
        last_heartbeat: monotonic seconds of the last turn, for /healthz.
    """

    def __init__(self, source: Source, writer: Writer, metrics: Metrics, clock: Clock, settings: Settings) -> None:
        self._stopping = False
        self._held = False
        self._never = threading.Event()
        self._source = source
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._settings = settings
        self._rules = Rules.of(settings.normalize)
        self._backfill_ms = int(settings.normalize.backfill_after * 1000)
        self._filling = Batch()
        self._unread = Unread()
        self._weight = Weight(settings.batch.max_rows, settings.batch.max_bytes)
        self._durable: Batch | None = None
        self._draining = False
        self.assignments = Assignments(source, metrics, settings)
        self.source_trouble: str | None = "Kafka was not reached yet"
        self.last_heartbeat = clock.monotonic()

    def run(self) -> None:
        """Process until asked to stop, then drain."""
        while not self._stopping:
            self.turn()
        self.drain(self._settings.drain_timeout)

    def stop(self) -> None:
        """Ask for the end; from any thread, and from a signal handler, hence without a lock."""
        self._stopping = True

    def hold(self) -> None:
        """Join the group and read nothing until `release`; before `run`."""
        self._held = True
        self._source.pause()

    def release(self) -> None:
        """Read from now on; from any thread."""
        self._held = False

    def turn(self) -> None:
        """Do once what the daemon does all the time."""
        polled = self._poll()
        for change in self._source.changes():
            self._follow(change)
        self._unread.add(polled)
        self._read()
        self._conclude()
        self._hand_over()
        self._resume_halted()
        self._pause_or_resume()
        self._observe()

    def drain(self, timeout: float) -> None:
        """Write and commit what is in a batch, for at most `timeout` seconds; the rest stays uncommitted."""
        deadline = self._clock.monotonic() + timeout
        self._draining = True
        self._unread.clear()
        while (self._filling.rows or self._writer.busy or self._durable) and self._clock.monotonic() < deadline:
            self.turn()
        if self._filling.rows or self._writer.busy or self._durable:
            message = "drain_timeout passed; what is not committed is read again by the next owner"
            log.warning("drain_timed_out", message=message, rows=self._filling.rows)

    def _poll(self) -> Mapping[Partition, Sequence[Record]]:
        """Poll, without a wait while there is something to read; while Kafka is away, say why and try again."""
        timeout = 0.0 if self._unread and not self._full() else self._settings.kafka.poll_timeout
        try:
            polled = self._source.poll(timeout, self._weight.room(self._filling))
        except SourceUnavailable as error:
            if self.source_trouble != str(error):
                log.warning("kafka_unavailable", message="Kafka cannot be polled; it is tried again", cause=str(error))
            self.source_trouble = str(error)
            self._clock.wait(self._never, SOURCE_RETRY_S)
            return {}
        self.source_trouble = None
        return polled

    def _follow(self, change: Change) -> None:
        """Follow what happened to a partition; rows of one that is withdrawn are dropped, its next owner reads them."""
        match change:
            case Withdrawn(partition=partition):
                self._forget(partition)
            case Unreadable():
                self._unread.add_unreadable(change)
        self.assignments.follow(change)

    def _forget(self, partition: Partition) -> None:
        """Drop what is not submitted of a partition; its next owner, or this one later, reads it again."""
        self._filling.drop(partition)
        self._unread.drop(partition)

    def _read(self) -> None:
        """Append the rows of what polls returned, until the batch is full or the turn has taken long enough."""
        ends_at = self._clock.monotonic() + TURN_S
        self._rules = self._rules.at(int(self._clock.now() * 1000))
        rows = self._settings.batch.max_rows - self._filling.rows
        size = self._settings.batch.max_bytes - self._filling.size
        while self._unread and rows > 0 and size > 0 and self._clock.monotonic() <= ends_at:
            normalized = self._read_slice(self._unread.first(SLICE))
            rows -= len(normalized.origins)
            size -= normalized.size

    def _read_slice(self, portion: Portion) -> Normalized:
        """Make rows of the first records of a portion, and append them where they are wanted. Hot path."""
        partition, records, damage = portion
        assignment = self.assignments.readable(partition) if damage is None else self.assignments.current.get(partition)
        if assignment is None:
            self._unread.drop(partition)
            return _NOTHING
        if damage is not None:
            normalized = unreadable(records, damage)
        else:
            normalized = normalize(records, self._rules, SLICE_BYTES)
            self._weight.note(normalized.records, len(normalized.origins), normalized.size)
            records = records[: normalized.records]
            if not self.assignments.within_limits(assignment, records, normalized.dead_letters):
                self._unread.drop(partition)
                return _NOTHING
        self._unread.done(normalized.records)
        self._open_part(assignment).extend(normalized)
        return normalized

    def _open_part(self, assignment: Assignment) -> Part:
        if self._filling.opened_at is None:
            self._filling.opened_at = self._clock.monotonic()
        return self._filling.part(assignment)

    def _hand_over(self) -> None:
        """Submit a batch that is due to the writer, unless it still has one or one waits for its commit."""
        if self._writer.busy or self._durable is not None or not self._due():
            return
        batch, self._filling = self._filling, Batch()
        batch.seal(self._clock.now())
        if batch.parts:
            self._writer.submit(batch)

    def _conclude(self) -> None:
        """Commit what became durable and is still this member's, then let it be seen in the metrics."""
        self._durable = self._durable or self._writer.collect()
        if self._durable is None:
            return
        own = {p: part for p, part in self._durable.parts.items() if self.assignments.is_current(part.assignment)}
        committed = self._source.commit({p: part.next_offset for p, part in own.items()}) if own else frozenset()
        if committed is None:
            self._metrics.committed("deferred")
            return
        for partition in committed:
            self._publish(own[partition], self._durable.acknowledged_at)
        if self._durable.parts:
            self._metrics.committed("ok" if len(committed) == len(self._durable.parts) else "fenced")
        for part, cause in self._durable.given_up:
            self._give_up(part, cause)
        self._durable = None

    def _publish(self, part: Part, acknowledged_at: float) -> None:
        assignment = part.assignment
        if assignment.counted is not None:
            self._metrics.publish(tally(part.columns, assignment.counted, acknowledged_at, self._backfill_ms))
        now = int(acknowledged_at * 1000)
        stamps = (record.timestamp for record in reversed(part.records))
        self._metrics.position(assignment.partition, next((at for at in stamps if plausible(at, now)), -1) / 1000)
        assignment.committed = part.next_offset

    def _give_up(self, part: Part, cause: str) -> None:
        """Halt a partition whose rows were not inserted; what was read behind them is read again, too."""
        if self.assignments.give_up(part.assignment, cause):
            self._forget(part.assignment.partition)

    def _due(self) -> bool:
        opened_at = self._filling.opened_at
        if opened_at is None:
            return False
        return self._draining or self._full() or self._clock.monotonic() - opened_at >= self._settings.batch.max_age

    def _full(self) -> bool:
        limits = self._settings.batch
        return self._filling.rows >= limits.max_rows or self._filling.size >= limits.max_bytes

    def _resume_halted(self) -> None:
        for partition in self.assignments.resume_halted(self._clock.monotonic()):
            self._forget(partition)

    def _pause_or_resume(self) -> None:
        """Pause delivery, not polling, while held, with the sink in trouble, batches full, or records waiting here."""
        in_trouble = self._writer.attempts.trouble is not None
        if self._held or self._draining or in_trouble or self._full() or self._unread:
            self._source.pause()
        else:
            self._source.resume()

    def _observe(self) -> None:
        """Report where the loop is."""
        now = self.last_heartbeat = self._clock.monotonic()
        if self.source_trouble is None:
            self._metrics.polled(self._clock.now())
        self._metrics.buffered(self._filling.rows, self._filling.oldest_timestamp())
        self.assignments.observe(now)
        # A member with partitions reads on while the group rebalances; one without them has to be in the group.
        reads = bool(self.assignments.current) or self._source.joined()
        self._metrics.source_available(up=reads and self.source_trouble is None and not self._source.troubles)

    def status(self) -> Mapping[str, Mapping[str, int | None]]:
        """Return where each partition is read, for /status. For any thread."""
        return self.assignments.places()

    def held(self) -> bool:
        """Return whether nothing is read before `release`. For any thread."""
        return self._held

    def buffered(self) -> int:
        """Return the number of rows not yet submitted to the writer. For any thread."""
        return self._filling.rows
