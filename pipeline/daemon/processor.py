"""The pipeline on one screen: poll, decode, normalize, append; insert, dead letters, commit, count.

Owns the order of things and the book of assignments; runs on one thread, the owner's, which alone touches the consumer and
never waits without polling. Bad data is a value; an exception that arrives here is a bug, and ends the process without
a commit.

For each batch, in this order: 1 insert, 2 dead letters (both by the writer), 3 commit of exactly the batch's next
offsets, 4 its numbers into the metrics. After a crash the next owner does all of it again: the tables are idempotent by
key, and what was not committed was not counted.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from pipeline.config import Settings
from pipeline.contracts import Assigned, Change, Clock, OffsetsLost, Source, Unreadable, Withdrawn
from pipeline.daemon.batch import Assignment, Batch, Part, Weight, set_aside
from pipeline.daemon.rejection_limits import Refusals
from pipeline.daemon.writer import Writer
from pipeline.errors import SourceUnavailable
from pipeline.metrics import Metrics
from pipeline.metrics.counts import tally
from pipeline.normalize.decode import Unstored, decode
from pipeline.normalize.step_row import Rules, ledger_row, step_row
from pipeline.records import InvalidRecord, Partition, Reason, Record, Stage, UnreadRecord
from schemas.row import Row

log = structlog.get_logger(__name__)

SOURCE_RETRY: Final = 1.0
"""Seconds before Kafka is asked again."""

SLICE: Final = 500
"""Records that become rows before the rows become columns: few enough to stay in the processor's caches."""

LAG_INTERVAL: Final = 5.0
"""Seconds between questions for the lag."""


class Processor:
    """Moves records from the source to the writer, and commits what the writer made durable.

    Attributes:
        assignments: the partitions that are ours now. Other threads may read it, none may change it.
        source_trouble: why nothing can be read, or None.
        lags: records that Kafka holds and we have not read, as last seen.
        turned_at: monotonic seconds of the last turn, for /healthz.
    """

    def __init__(self, source: Source, writer: Writer, metrics: Metrics, clock: Clock, settings: Settings) -> None:
        self._stopping = False
        self._never = threading.Event()
        self._source = source
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._settings = settings
        self._limits = settings.dead_letter.max_consecutive, settings.dead_letter.max_ratio
        self._rules = Rules(settings.normalize.content, settings.normalize.max_text)
        self._backfill_ms = int(settings.normalize.backfill_after * 1000)
        self._filling = Batch()
        self._weight = Weight(settings.batch.max_rows, settings.batch.max_bytes)
        self._durable: Batch | None = None
        self._draining = False
        self._measured_at = -LAG_INTERVAL
        self._halted_since: dict[Partition, float] = {}
        self.assignments: dict[Partition, Assignment] = {}
        self.lags: dict[Partition, int] = {}
        self.source_trouble: str | None = "Kafka was not reached yet"
        self.last_heartbeat = clock.monotonic()

    def run(self) -> None:
        """Process until told to stop, then drain."""
        while not self._stopping:
            self.turn()
        self.drain(self._settings.drain_timeout)

    def stop(self) -> None:
        """Ask for the end; from any thread, and from a signal handler, hence without a lock."""
        self._stopping = True

    def turn(self) -> None:
        """Do once what the daemon does for ever."""
        polled = self._poll()
        for change in self._source.changes():
            self._follow(change)
        for partition, records in polled.items():
            self._read(partition, records)
        self._conclude()
        self._hand_over()
        self._resume_halted()
        self._hold_or_release()
        self._observe()

    def drain(self, timeout: float) -> None:
        """Write and commit what was read, for at most `timeout` seconds; the rest stays uncommitted."""
        deadline = self._clock.monotonic() + timeout
        self._draining = True
        while (self._filling.rows or self._writer.busy or self._durable) and self._clock.monotonic() < deadline:
            self.turn()
        if self._filling.rows or self._writer.busy or self._durable:
            log.warning("drain ran out of time; the rest stays uncommitted and is read again", rows=self._filling.rows)

    def _poll(self) -> Mapping[Partition, Sequence[Record]]:
        """Poll; while Kafka is away, say why and try again."""
        try:
            polled = self._source.poll(self._settings.kafka.poll_timeout, self._weight.room(self._filling))
        except SourceUnavailable as error:
            if self.source_trouble != str(error):
                log.warning("Kafka cannot be read", cause=str(error))
            self.source_trouble = str(error)
            self._clock.wait(self._never, SOURCE_RETRY)
            return {}
        self.source_trouble = None
        return polled

    def _follow(self, change: Change) -> None:
        """Keep the book of assignments; rows of a partition that is ours no more are dropped, its next owner reads them."""
        partition = change.partition
        match change:
            case Assigned():
                self.assignments[partition] = Assignment(
                    partition, None, Refusals(*self._limits), Refusals(*self._limits)
                )
                self._metrics.rebalanced("assigned")
            case Withdrawn(lost=lost):
                self.assignments.pop(partition, None)
                self._filling.drop(partition)
                self._metrics.forget(partition)
                self._metrics.rebalanced("lost" if lost else "revoked")
            case OffsetsLost(first=first, last=last):
                self._metrics.records_lost(partition, last - first + 1)
            case Unreadable():
                self._refuse_unread(change)
        self._metrics.assigned(len(self.assignments))
        log.info("partition", change=type(change).__name__, topic=partition.topic, partition=partition.number)

    def _read(self, partition: Partition, records: Sequence[Record]) -> None:
        """Decode and normalize records, and append their rows to the batch that is being filled."""
        assignment = self.assignments.get(partition)
        if assignment is None or not records or partition in self._source.halted:
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
        """Decode and normalize a slice of records into rows of a part, if that is bearable: the hot path."""
        max_bytes, rules = self._settings.normalize.max_event_bytes, self._rules
        rows: list[Row] = []
        origins: list[Record] = []
        dead_letters: list[InvalidRecord] = []
        size = 0
        for record in records:
            decoded = decode(record.value, max_bytes)
            size += len(record.value or b"")
            for index, event in enumerate(decoded if isinstance(decoded, list) else (decoded,)):
                row = event if isinstance(event, Unstored) else step_row(event, record, index, rules)
                if isinstance(row, Unstored):
                    set_aside(dead_letters, record, row)
                    row = ledger_row(row, record, index)
                rows.append(row)
                origins.append(record)
        self._weight.note(len(records), len(rows), size)
        if bearable := self._bearable(part.assignment, records, dead_letters):
            part.extend(rows, origins, dead_letters)
            self._filling.size += size
        return bearable

    def _bearable(
        self, assignment: Assignment, records: Sequence[Record], dead_letters: Sequence[InvalidRecord]
    ) -> bool:
        """Return whether so many dead letters may be; else halt the partition in front of these records."""
        last = 0
        while last < len(dead_letters) and dead_letters[-1 - last].record is records[-1 - last]:
            last += 1
        assignment.refusals.note(len(records), len(dead_letters), last)
        excess = assignment.refusals.excess() if dead_letters else None
        if excess is not None:
            self._source.halt(assignment.partition, excess)
        return excess is None

    def _refuse_unread(self, change: Unreadable) -> None:
        """Account for offsets that nobody can read: dead-lettered by their place."""
        assignment = self.assignments.get(change.partition)
        if assignment is None:
            return
        verdict = Unstored(Reason.UNREADABLE, Stage.FETCH, change.detail)
        records = [UnreadRecord(*change.partition, offset) for offset in range(change.first, change.last + 1)]
        dead_letters = [InvalidRecord(record, Stage.FETCH, Reason.UNREADABLE, change.detail) for record in records]
        self._open_part(assignment).extend(
            [ledger_row(verdict, record, 0) for record in records], records, dead_letters
        )

    def _hand_over(self) -> None:
        """Lend the writer a batch that is due, unless it still has one or one waits for its commit."""
        if self._writer.busy or self._durable is not None or not self._due():
            return
        batch, self._filling = self._filling, Batch()
        batch.seal(self._clock.now())
        if batch.parts:
            self._writer.submit(batch)

    def _conclude(self) -> None:
        """Commit what became durable and is still ours, then let it be seen in the metrics."""
        self._durable = self._durable or self._writer.collect()
        if self._durable is None:
            return
        ours = {p: part for p, part in self._durable.parts.items() if self.assignments.get(p) is part.assignment}
        committed = self._source.commit({p: part.next_offset for p, part in ours.items()}) if ours else frozenset()
        if committed is None:
            self._metrics.committed("deferred")
            return
        for partition in committed:
            self._publish(ours[partition], self._durable.acknowledged_at)
        if self._durable.parts:
            self._metrics.committed("ok" if len(committed) == len(self._durable.parts) else "fenced")
        for part, cause in self._durable.given_up:
            self._give_up(part, cause)
        self._durable = None

    def _give_up(self, part: Part, cause: str) -> None:
        """Halt a partition whose rows the sink does not take; what was read behind them is read again, too."""
        partition = part.assignment.partition
        if self.assignments.get(partition) is part.assignment:
            self._filling.drop(partition)
            self._source.halt(partition, cause)

    def _resume_halted(self) -> None:
        """Read halted partitions again now and then, from what is committed: what stopped them may be fixed."""
        now = self._clock.monotonic()
        halted = self._source.halted
        if halted or self._halted_since:
            self._halted_since = {partition: self._halted_since.get(partition, now) for partition in halted}
        for partition, since in self._halted_since.items():
            assignment = self.assignments.get(partition)
            if assignment is not None and now - since >= self._settings.retry.halted_delay:
                self._filling.drop(partition)
                self.assignments[partition] = Assignment(partition, None, assignment.refusals, assignment.sink_refusals)
                self._halted_since[partition] = now
                self._source.resume(partition)

    def _publish(self, part: Part, acknowledged_at: float) -> None:
        assignment = part.assignment
        if assignment.counted is not None:
            self._metrics.publish(tally(part.columns, assignment.counted, acknowledged_at, self._backfill_ms))
        self._metrics.position(assignment.partition, part.records[-1].timestamp / 1000)
        assignment.committed = part.next_offset

    def _due(self) -> bool:
        opened_at = self._filling.opened_at
        if opened_at is None:
            return False
        return self._draining or self._full() or self._clock.monotonic() - opened_at >= self._settings.batch.max_age

    def _full(self) -> bool:
        limits = self._settings.batch
        return self._filling.rows >= limits.max_rows or self._filling.size >= limits.max_bytes

    def _hold_or_release(self) -> None:
        """Stop the flow, not the polling, while the sink is in trouble or two batches are full."""
        if self._draining or self._writer.trouble is not None or self._full():
            self._source.hold()
        else:
            self._source.release()

    def _observe(self) -> None:
        """Tell where we are; lags cost the broker a request, so they are asked for now and then."""
        now = self.last_heartbeat = self._clock.monotonic()
        if self.source_trouble is None:
            self._metrics.polled(self._clock.now())
        self._metrics.halted(len(self._source.halted))
        self._metrics.buffered(self._filling.rows, self._filling.oldest_timestamp())
        if now - self._measured_at >= LAG_INTERVAL:
            self._measured_at = now
            self.lags = dict(self._source.lags())
            for partition in self.assignments:
                self._metrics.lag(partition, self.lags.get(partition))
        # A member with partitions reads on while the group rebalances; one without them has to be in the group.
        reads = bool(self.assignments) or self._source.joined()
        self._metrics.source_available(up=reads and self.source_trouble is None and not self._source.troubles)

    def status(self) -> Mapping[str, Mapping[str, int | None]]:
        """Return position, committed offset and lag by partition, for /status. For any thread."""
        return {
            f"{partition.topic}/{partition.number}": {
                "position": assignment.next_offset,
                "committed": assignment.committed,
                "lag": self.lags.get(partition),
            }
            for partition, assignment in list(self.assignments.items())
        }

    def buffered(self) -> int:
        """Return the number of rows not yet handed to the writer. For any thread."""
        return self._filling.rows
