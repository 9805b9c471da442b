"""Writers that make less durable than they say, or count what others counted."""

import math
from collections.abc import Callable
from typing import Any

from pipeline.clickhouse.insert_proof import Answer
from pipeline.clickhouse.insert_tokens import InsertTokens
from pipeline.daemon import batch
from pipeline.daemon.attempts import Attempts
from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.insert_memory import InsertSize
from pipeline.daemon.insertion import Insertion
from pipeline.daemon.processor import Processor
from pipeline.daemon.writer import Writer
from pipeline.errors import DeadLetterUnavailable, ErrorClass, SinkUnavailable
from pipeline.metrics.counts import CountedSteps
from schemas.row import INDEX
from tests.simulation.mutants.change import Change


def dead_letters_after_commit() -> list[Change]:
    """Commit, and send the dead letters when there is time."""
    conclude, dead_letters = Processor._conclude, Batch.dead_letters

    def changed(self: Processor) -> None:
        self._durable = batch = self._durable or self._writer.collect()
        conclude(self)
        if batch is not None and self._durable is None:
            self._writer._dead_letters.send(dead_letters(batch))

    return [(Processor, "_conclude", changed), (Batch, "dead_letters", lambda _: [])]


def token_for_other_bytes() -> list[Change]:
    """Name a batch by where it begins: another boundary after a restart goes by the same name."""
    seal = Batch.seal

    def changed(self: Batch, now: float) -> None:
        seal(self, now)
        self.token = "/".join(f"{p.number}:{part.first_offset}" for p, part in self.parts.items())

    return [(Batch, "seal", changed)]


def halves_share_a_token() -> list[Change]:
    """Send both halves of a batch under the batch's own token."""

    def changed(self: Insertion, start: int, stop: int) -> None:
        middle = (start + stop) // 2
        for low, high in ((start, middle), (middle, stop)):
            self._insert(low, high, self._batch.token)

    return [(Insertion, "_halve", changed)]


def given_up_committed() -> list[Change]:
    """Commit a partition whose rows the sink did not take."""

    def changed(self: Batch, partition: Any, cause: str) -> None:
        """Keep the part."""

    return [(Batch, "give_up", changed)]


def counted_steps_not_warmed() -> list[Change]:
    """Begin every assignment as if no step had been counted before."""

    def changed(_: Writer, assignment: Assignment, __: int) -> None:
        assignment.counted = assignment.counted or CountedSteps(1_000)

    return [(Writer, "_know_counted", changed)]


def counted_steps_warmed_too_far() -> list[Change]:
    """Take all of the ledger for counted, also what was never committed."""
    know = Writer._know_counted
    return [(Writer, "_know_counted", lambda self, assignment, _: know(self, assignment, 2**62))]


def ambiguous_taken_for_done() -> list[Change]:
    """Believe that a time-out after the rows were sent means that they arrived."""
    insert = Attempts._measured_insert

    def changed(self: Attempts, columns: Any, token: str) -> None:
        try:
            insert(self, columns, token)
        except SinkUnavailable as error:
            if error.error_class is not ErrorClass.AMBIGUOUS:
                raise

    return [(Attempts, "_measured_insert", changed)]


def ok_believed_without_proof() -> list[Change]:
    """Take every OK for a write: that of a proxy, and that of a table whose views are gone."""
    return [(Answer, "doubt", lambda *_: None), (Answer, "counts_copies", lambda *_: True)]


def token_believed_after_a_restart() -> list[Change]:
    """Take it for stored when a server that was killed says that it knows an insert's token."""
    return [(InsertTokens, "doubtful_since", lambda *_: None)]


def sent_whole_for_ever() -> list[Change]:
    """Send what the way to ClickHouse cannot carry again and again, and never less of it."""
    return [(InsertSize, "ambiguous_attempts", lambda *_: math.inf)]


def superseded_row_left_out() -> list[Change]:
    """Reject the newest row of a step, and do not bring back the one before it."""
    return [(Batch, "restore", lambda _: False)]


def superseded_by_the_later_row() -> list[Change]:
    """Take the last row of a step in a batch for its newest."""

    def changed(columns: Any) -> list[int]:
        keys = list(zip(*[columns[INDEX[name]] for name in ("thread_id", "run_id", "step_id")], strict=True))
        last = {key: row for row, key in enumerate(keys)}
        return [row for row, key in enumerate(keys) if key[2] and last[key] != row]

    return [(batch, "superseded", changed)]


def dead_letter_not_awaited() -> list[Change]:
    """Send dead letters, and do not look whether they arrived."""
    persist = Attempts.persist

    def changed(self: Attempts, attempt: Callable[[], Any], *, suspected: bool = False) -> Any:
        def careless() -> Any:
            try:
                return attempt()
            except DeadLetterUnavailable:
                return None

        return persist(self, careless, suspected=suspected)

    return [(Attempts, "persist", changed)]


def rejected_row_left_out() -> list[Change]:
    """Send a rejected row to the dead letters, and give the ledger no account of it."""
    insert = Attempts.insert

    def changed(self: Attempts, columns: Any, token: str, **how: Any) -> None:
        if "/refused-" not in token:
            insert(self, columns, token, **how)

    return [(Attempts, "insert", changed)]
