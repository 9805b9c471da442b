"""Brings dead letters back in, each once: decides dead letter by dead letter, writes slice by slice.

A slice is one transaction. It holds the records that come back and, in the dead-letter topic, a marker for each dead letter;
so a dead letter without a marker was not brought in, however the one who tried has ended.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple

from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity, Outcome, marks, once_more, returning
from pipeline.tools.dlq.dead_letter_topic import Book, Selection
from pipeline.tools.dlq.originals import Found, Originals
from pipeline.tools.dlq.transactions import Outgoing, Refused, Transactions

SLICE: Final = 500
SLICE_BYTES: Final = 16 << 20


class OnError(StrEnum):
    """What is done about a dead letter that cannot be replayed."""

    STOP = "stop"
    REQUEUE = "requeue"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Terms:
    """How dead letters are replayed.

    Attributes:
        max_attempts: dead letters of so many refusals are left alone.
        on_error: what is done about a dead letter that cannot be replayed.
        to_topic: where to instead of the origin.
    """

    max_attempts: int = 3
    on_error: OnError = OnError.STOP
    to_topic: str | None = None


class Decision(NamedTuple):
    """What is done about a dead letter.

    Attributes:
        dead_letter: which.
        outcome: what becomes of it; None where nothing can be done.
        cause: why it cannot be replayed; "" where it can.
        records: what is written.
    """

    dead_letter: DeadLetter
    outcome: Outcome | None
    cause: str
    records: Sequence[Outgoing]


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        done: dead letters by what became of them.
        exhausted: dead letters that were refused too often.
        closed: dead letters that had been replayed, requeued or dropped before.
        failures: dead letters that could not be replayed, with the cause.
        stopped: whether the last failure was the end of it.
    """

    done: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    exhausted: int = 0
    closed: int = 0
    failures: list[tuple[DeadLetter, str]] = field(default_factory=list)
    stopped: bool = False

    @property
    def failed(self) -> bool:
        """Whether a dead letter is still open that should not be; what was dropped was meant to be."""
        return len(self.failures) > self.done[Outcome.DROPPED]


class Replay:
    """One run over the dead letters of a book.

    Attributes:
        report: what was done so far.
    """

    def __init__(self, book: Book, terms: Terms) -> None:
        self.report = Report()
        self._book = book
        self._terms = terms
        self._originals = Originals(book.reader, book.topic)
        self._refused: dict[Identity, str] = {}
        self._alone: set[Identity] = set()
        self._stuck: set[Identity] = set()

    def plan(self, selection: Selection, limit: int | None) -> list[DeadLetter]:
        """Return the dead letters to replay, the oldest first; count those that are not to be."""
        chosen = self._book.chosen(selection, closed=True)
        left = [dead_letter for dead_letter in chosen if dead_letter.identity not in self._book.outcomes]
        fit = [dead_letter for dead_letter in left if dead_letter.identity.attempt < self._terms.max_attempts]
        self.report.closed, self.report.exhausted = len(chosen) - len(left), len(left) - len(fit)
        return fit[:limit]

    def preview(self, dead_letters: Sequence[DeadLetter]) -> Iterator[Decision]:
        """Yield what would be done, as far as it can be said without asking the broker to take it."""
        work = deque(dead_letters)
        while work and not self.report.stopped:
            for decision in self._decide(self._slice(work)):
                self._account(decision)
                yield decision

    def run(self, dead_letters: Sequence[DeadLetter], transactions: Transactions, tell: Callable[[int], None]) -> None:
        """Do it.

        Args:
            dead_letters: of `plan`, which the book must have read after `transactions` was opened.
            transactions: writes.
            tell: told how many dead letters are left.

        Raises:
            Superseded: another replay has taken over.
            ServiceUnavailable: Kafka is away or refuses us.
        """
        work = deque(dead_letters)
        while work and not self.report.stopped:
            slice_ = self._slice(work)
            decisions = self._decide(slice_)
            records = [record for decision in decisions for record in decision.records]
            try:
                if records:
                    transactions.write(records)
            except Refused as refusal:
                self._suspect(slice_, str(refusal))
                transactions.open()
                # Between the two another one may have been at work.
                self._book.read_on()
                work = deque(each for each in chain(slice_, work) if each.identity not in self._book.outcomes)
                continue
            for decision in decisions:
                self._account(decision)
            tell(len(work))

    def _slice(self, work: deque[DeadLetter]) -> list[DeadLetter]:
        """Take the next dead letters; one that may be refused goes alone."""
        taken = [work.popleft()]
        size = taken[0].size
        while work and len(taken) < SLICE and taken[0].identity not in self._alone:
            size += work[0].size
            if size > SLICE_BYTES or work[0].identity in self._alone:
                break
            taken.append(work.popleft())
        return taken

    def _suspect(self, slice_: Sequence[DeadLetter], cause: str) -> None:
        first = slice_[0].identity
        if first in self._refused:
            # What was refused now is what was to say so: its marker, or its copy.
            self._stuck.add(first)
        elif len(slice_) == 1:
            self._refused[first] = f"Kafka refuses it: {cause}"
        self._alone.update(dead_letter.identity for dead_letter in slice_)

    def _decide(self, dead_letters: Sequence[DeadLetter]) -> list[Decision]:
        """Return what is done about each, up to one that is the end of it."""
        found = self._originals.of(dead_letters)
        decisions = []
        for dead_letter in dead_letters:
            decisions.append(self._decision(dead_letter, found[dead_letter.identity]))
            if self._ends(decisions[-1]):
                break
        return decisions

    def _decision(self, dead_letter: DeadLetter, found: Found) -> Decision:
        cause = found.cause or self._refused.get(dead_letter.identity, "") or self._obstacle(dead_letter, found)
        identity, record = dead_letter.identity, found.dead_letter
        if not cause:
            own = found.original
            topic = self._terms.to_topic or identity.topic
            partition = None if self._terms.to_topic else identity.partition
            back = Outgoing(topic, partition, own.key, own.value, returning(own.headers, identity))
            return Decision(dead_letter, Outcome.REPLAYED, "", [back, *self._markers(dead_letter, Outcome.REPLAYED)])
        if self._terms.on_error is OnError.STOP or record is None or identity in self._stuck:
            return Decision(dead_letter, None, cause, ())
        if self._terms.on_error is OnError.DROP:
            return Decision(dead_letter, Outcome.DROPPED, cause, self._markers(dead_letter, Outcome.DROPPED))
        # The client sends no record that has neither key nor value.
        value = b"" if record.key is None and record.value is None else record.value
        copy = Outgoing(self._book.topic, None, record.key, value, once_more(record.headers, identity))
        return Decision(dead_letter, Outcome.REQUEUED, cause, [copy, *self._markers(dead_letter, Outcome.REQUEUED)])

    def _obstacle(self, dead_letter: DeadLetter, found: Found) -> str:
        topic = self._terms.to_topic or dead_letter.identity.topic
        partitions = self._originals.partitions(topic)
        if not partitions:
            return f"there is no topic {topic}"
        if topic == self._book.topic:
            return f"{topic} is the dead-letter topic"
        if not self._terms.to_topic and dead_letter.identity.partition >= partitions:
            return f"topic {topic} has no partition {dead_letter.identity.partition}"
        if found.original.key is None and found.original.value is None:
            return "it has neither key nor value"
        return ""

    def _markers(self, dead_letter: DeadLetter, outcome: Outcome) -> list[Outgoing]:
        """Return one for each partition with a copy of the dead letter: there, the marker is what expires last.

        The value is empty, not null: compaction would take a null one away.
        """
        name, said = str(dead_letter.identity).encode(), marks(dead_letter.identity, outcome)
        topic = self._book.topic
        return [Outgoing(topic, partition, name, b"", said) for partition in self._book.partitions_of(dead_letter)]

    def _ends(self, decision: Decision) -> bool:
        return decision.outcome is None and self._terms.on_error is OnError.STOP

    def _account(self, decision: Decision) -> None:
        report = self.report
        if decision.outcome is not None:
            report.done[decision.outcome] += 1
            self._book.outcomes[decision.dead_letter.identity] = decision.outcome
        if decision.cause:
            report.failures.append((decision.dead_letter, decision.cause))
        report.stopped = self._ends(decision)
