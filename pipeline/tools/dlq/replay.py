"""Replays dead letters, each once: decides for each dead letter, writes in slices.

A slice is one transaction. It holds the replayed records and, in the dead-letter topic, a marker for each dead letter.
So a dead letter without a marker was not replayed, even if a replay crashed.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple

from pipeline.tools.dlq.dead_letter_records import (
    DeadLetter,
    Identity,
    ReplayOutcome,
    marker_headers,
    replayed,
    requeued,
)
from pipeline.tools.dlq.dead_letter_topic import DeadLetterTopic, Selection
from pipeline.tools.dlq.originals import Found, Originals
from pipeline.tools.dlq.transactions import Outgoing, RecordRejected, Transactions


class SliceLimits(NamedTuple):
    """The most dead letters, and bytes of their values, in one transaction."""

    dead_letters: int = 500
    size_bytes: int = 16 << 20


_LIMITS: Final = SliceLimits()


class OnError(StrEnum):
    """What to do with a dead letter that cannot be replayed."""

    STOP = "stop"
    REQUEUE = "requeue"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """How dead letters are replayed.

    Attributes:
        max_attempts: a dead letter that was rejected so often is not replayed.
        on_error: what to do with a dead letter that cannot be replayed.
        to_topic: the topic to write to, instead of the origin.
        origins: the only origins that are written to; None for any. A dead letter is believed no more than its writer.
    """

    max_attempts: int = 3
    on_error: OnError = OnError.STOP
    to_topic: str | None = None
    origins: frozenset[str] | None = None

    def admits(self, origin: str) -> bool:
        """Whether dead letters of this topic are replayed."""
        return self.to_topic is not None or self.origins is None or origin in self.origins


class Decision(NamedTuple):
    """What to do with a dead letter.

    Attributes:
        dead_letter: which.
        outcome: what becomes of it; None where it stays open.
        cause: why it cannot be replayed; "" where it can.
        records: the records to write; the first of a replay is the one that comes back.
    """

    dead_letter: DeadLetter
    outcome: ReplayOutcome | None
    cause: str
    records: Sequence[Outgoing]

    @property
    def returned(self) -> Outgoing | None:
        """The record that comes back, if one does."""
        return self.records[0] if self.outcome is ReplayOutcome.REPLAYED else None


@dataclass(slots=True)
class ReplayResult:
    """What a replay did.

    Attributes:
        done: number of dead letters by outcome.
        exhausted: number of dead letters that were rejected too often.
        closed: number of dead letters that had been replayed, requeued or dropped before.
        elsewhere: number of dead letters by origin, of those that are not to be written to.
        failures: dead letters that could not be replayed, with the cause.
        stopped: whether the last failure ended the replay.
    """

    done: dict[ReplayOutcome, int] = field(default_factory=lambda: dict.fromkeys(ReplayOutcome, 0))
    exhausted: int = 0
    closed: int = 0
    elsewhere: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[DeadLetter, str]] = field(default_factory=list)
    stopped: bool = False

    @property
    def failed(self) -> bool:
        """Whether a dead letter that could not be replayed is still in the topic; dropped ones do not count."""
        return bool(self.elsewhere) or len(self.failures) > self.done[ReplayOutcome.DROPPED]


class Replay:
    """One run over the dead letters of a topic.

    Attributes:
        result: what the replay has done so far.
    """

    def __init__(self, topic: DeadLetterTopic, policy: ReplayPolicy, limits: SliceLimits = _LIMITS) -> None:
        self.result = ReplayResult()
        self._topic = topic
        self._policy = policy
        self._limits = limits
        self._originals = Originals(topic.reader, topic.name, policy.origins)
        self._rejected: dict[Identity, str] = {}
        self._suspects: set[Identity] = set()
        self._unmarkable: set[Identity] = set()

    def plan(self, selection: Selection, limit: int | None) -> list[DeadLetter]:
        """Return the dead letters to replay, the oldest first; count those that are left out."""
        chosen = self._topic.chosen(selection, closed=True)
        left = [dead_letter for dead_letter in chosen if dead_letter.identity not in self._topic.outcomes]
        meant = [dead_letter for dead_letter in left if self._policy.admits(dead_letter.identity.topic)]
        fit = [
            dead_letter
            for dead_letter in meant
            if self._topic.attempt(dead_letter.identity) < self._policy.max_attempts
        ]
        self.result.closed, self.result.exhausted = len(chosen) - len(left), len(meant) - len(fit)
        origins = [dead_letter.identity.topic for dead_letter in left]
        self.result.elsewhere = Counter(origin for origin in origins if not self._policy.admits(origin))
        return fit[:limit]

    def preview(self, dead_letters: Sequence[DeadLetter]) -> Iterator[Decision]:
        """Yield what a replay would do, if the broker accepted all records."""
        work = deque(dead_letters)
        while work and not self.result.stopped:
            for decision in self._decide(self._slice(work)):
                self._account(decision)
                yield decision

    def run(
        self, dead_letters: Sequence[DeadLetter], transactions: Transactions, progress: Callable[[int], None]
    ) -> None:
        """Replay the dead letters.

        Args:
            dead_letters: of `plan`, after the topic was read with `transactions` already open.
            transactions: the writer.
            progress: called with the number of dead letters that are left.

        Raises:
            Superseded: another replay has taken over.
            ServiceUnavailable: Kafka is away or denies access.
        """
        work = deque(dead_letters)
        while work and not self.result.stopped:
            slice_ = self._slice(work)
            decisions = self._decide(slice_)
            records = [record for decision in decisions for record in decision.records]
            try:
                if records:
                    transactions.write(records)
            except RecordRejected as rejection:
                self._isolate(slice_, str(rejection))
                transactions.open()
                # Another replay may have written before this one reopened.
                self._topic.read_new()
                work = deque(each for each in chain(slice_, work) if each.identity not in self._topic.outcomes)
                continue
            for decision in decisions:
                self._account(decision)
            progress(len(work))

    def _slice(self, work: deque[DeadLetter]) -> list[DeadLetter]:
        """Take the next dead letters; one that the broker may reject goes alone."""
        taken = [work.popleft()]
        size = taken[0].size
        while work and len(taken) < self._limits.dead_letters and taken[0].identity not in self._suspects:
            size += work[0].size
            if size > self._limits.size_bytes or work[0].identity in self._suspects:
                break
            taken.append(work.popleft())
        return taken

    def _isolate(self, slice_: Sequence[DeadLetter], cause: str) -> None:
        first = slice_[0].identity
        if first in self._rejected:
            # This time the broker rejected its marker, or its copy at the end of the topic.
            self._unmarkable.add(first)
        elif len(slice_) == 1:
            self._rejected[first] = f"Kafka rejects the record: {cause}"
        self._suspects.update(dead_letter.identity for dead_letter in slice_)

    def _decide(self, dead_letters: Sequence[DeadLetter]) -> list[Decision]:
        """Return a decision for each, up to one that ends the replay."""
        found = self._originals.of(dead_letters)
        decisions = []
        for dead_letter in dead_letters:
            decisions.append(self._decision(dead_letter, found[dead_letter.identity]))
            if self._ends(decisions[-1]):
                break
        return decisions

    def _decision(self, dead_letter: DeadLetter, found: Found) -> Decision:
        cause = found.cause or self._rejected.get(dead_letter.identity, "") or self._obstacle(dead_letter, found)
        identity, record = dead_letter.identity, found.dead_letter
        if not cause:
            own = found.original
            topic = self._policy.to_topic or identity.topic
            partition = None if self._policy.to_topic else identity.partition
            headers = replayed(own.headers, identity, self._topic.attempt(identity))
            back = Outgoing(topic, partition, own.key, own.value, headers)
            return Decision(
                dead_letter, ReplayOutcome.REPLAYED, "", [back, *self._markers(dead_letter, ReplayOutcome.REPLAYED)]
            )
        if self._policy.on_error is OnError.STOP or record is None or identity in self._unmarkable:
            return Decision(dead_letter, None, cause, ())
        if self._policy.on_error is OnError.DROP:
            return Decision(
                dead_letter, ReplayOutcome.DROPPED, cause, self._markers(dead_letter, ReplayOutcome.DROPPED)
            )
        # kafka-python sends no record with neither key nor value.
        value = b"" if record.key is None and record.value is None else record.value
        copy = Outgoing(self._topic.name, None, record.key, value, requeued(record.headers, identity))
        return Decision(
            dead_letter, ReplayOutcome.REQUEUED, cause, [copy, *self._markers(dead_letter, ReplayOutcome.REQUEUED)]
        )

    def _obstacle(self, dead_letter: DeadLetter, found: Found) -> str:
        topic = self._policy.to_topic or dead_letter.identity.topic
        partitions = self._originals.partitions(topic)
        if not partitions:
            return f"topic {topic} does not exist"
        if topic == self._topic.name:
            return f"{topic} is the dead-letter topic"
        if not self._policy.to_topic and dead_letter.identity.partition >= partitions:
            return f"topic {topic} has no partition {dead_letter.identity.partition}"
        if found.original.key is None and found.original.value is None:
            return "the record has neither key nor value"
        return ""

    def _markers(self, dead_letter: DeadLetter, outcome: ReplayOutcome) -> list[Outgoing]:
        """Return a marker for each partition that holds the dead letter or a copy, so that it outlives them.

        The value is empty, not null: compaction would remove a record with a null value.
        """
        key, headers = str(dead_letter.identity).encode(), marker_headers(dead_letter.identity, outcome)
        topic = self._topic.name
        return [Outgoing(topic, partition, key, b"", headers) for partition in self._topic.partitions_of(dead_letter)]

    def _ends(self, decision: Decision) -> bool:
        return decision.outcome is None and self._policy.on_error is OnError.STOP

    def _account(self, decision: Decision) -> None:
        result = self.result
        if decision.outcome is not None:
            result.done[decision.outcome] += 1
            self._topic.close(decision.dead_letter.identity, decision.outcome)
        if decision.cause:
            result.failures.append((decision.dead_letter, decision.cause))
        result.stopped = self._ends(decision)
