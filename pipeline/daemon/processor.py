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
from pipeline.daemon.writer import Writer
from pipeline.errors import SourceUnavailable
from pipeline.metrics import Metrics
from pipeline.metrics.counts import tally
from pipeline.normalize.normalize import Rules, normalize, unreadable
from pipeline.records import Partition, Record, UnreadRecord, plausible

log = structlog.get_logger(__name__)

SOURCE_RETRY_S: Final = 1.0
"""Before Kafka is polled again after it could not be."""

SLICE: Final = 500
"""Records that become rows before the rows become columns: few enough to stay in the processor's caches."""


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
        kept = settings.normalize
        self._rules = Rules(kept.content, kept.max_text, kept.max_event_bytes)
        self._backfill_ms = int(kept.backfill_after * 1000)
        self._filling = Batch()
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
        for partition, records in polled.items():
            self._read(partition, records)
        self._conclude()
        self._hand_over()
        self._resume_halted()
        self._pause_or_resume()
        self._observe()

    def drain(self, timeout: float) -> None:
        """Write and commit what was read, for at most `timeout` seconds; the rest stays uncommitted."""
        deadline = self._clock.monotonic() + timeout
        self._draining = True
        while (self._filling.rows or self._writer.busy or self._durable) and self._clock.monotonic() < deadline:
            self.turn()
        if self._filling.rows or self._writer.busy or self._durable:
            message = "drain_timeout passed; what is not committed is read again by the next owner"
            log.warning("drain_timed_out", message=message, rows=self._filling.rows)

    def _poll(self) -> Mapping[Partition, Sequence[Record]]:
        """Poll; while Kafka is away, say why and try again."""
        try:
            polled = self._source.poll(self._settings.kafka.poll_timeout, self._weight.room(self._filling))
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
                self._filling.drop(partition)
            case Unreadable(partition=partition) if assignment := self.assignments.current.get(partition):
                records = [UnreadRecord(*partition, offset) for offset in range(change.first, change.last + 1)]
                self._open_part(assignment).extend(unreadable(records, change.detail))
        self.assignments.follow(change)

    def _read(self, partition: Partition, records: Sequence[Record]) -> None:
        """Append the rows of records to the batch that is being filled."""
        assignment = self.assignments.readable(partition)
        if assignment is None or not records:
            return
        part = self._open_part(assignment)
        for start in range(0, len(records), SLICE):
            if not self._append(part, records[start : start + SLICE]):
                return

    def _open_part(self, assignment: Assignment) -> Part:
        if self._filling.opened_at is None:
            self._filling.opened_at = self._clock.monotonic()
        return self._filling.part(assignment)

    def _append(self, part: Part, records: Sequence[Record]) -> bool:
        """Turn a slice of records into rows, unless that exceeds the dead-letter limits. Hot path."""
        normalized = normalize(records, self._rules)
        self._weight.note(len(records), len(normalized.origins), normalized.size)
        accepted = self.assignments.within_limits(part.assignment, records, normalized.dead_letters)
        if accepted:
            part.extend(normalized)
            self._filling.size += normalized.size
        return accepted

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
            self._filling.drop(part.assignment.partition)

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
            self._filling.drop(partition)

    def _pause_or_resume(self) -> None:
        """Pause delivery, not polling, while it is held, the sink is in trouble, or two batches are full."""
        if self._held or self._draining or self._writer.attempts.trouble is not None or self._full():
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
