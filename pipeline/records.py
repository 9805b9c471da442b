"""Records, what can become of them, and what they are rejected for.

Owns the values that the stages of the daemon hand on, and the words of the accounting: `Stage`, `Reason` and `Outcome`
are closed, and are the only label values there are. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from schemas.row import BLANK_ROW, Row


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Record(Protocol):
    """A Kafka message, as kafka-python delivers it (its ConsumerRecord has these attributes, so nothing is copied)."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def partition(self) -> int:
        """The partition's number."""

    @property
    def offset(self) -> int:
        """The place in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch; -1 where the producer gave none."""

    @property
    def key(self) -> bytes | None:
        """The key as sent."""

    @property
    def value(self) -> bytes | None:
        """The value as sent; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The headers as sent, in order, names may repeat."""


FUTURE_TOLERANCE_MS: Final = 3_600_000
"""How far a stamp may lie after the record's own before it is doubted: clocks differ, by less than an hour."""

EARLIEST_STAMP_MS: Final = 1_420_070_400_000
"""2015-01-01: Kafka gave records no timestamps before, so nothing is measured by an earlier one."""

_LATEST_AHEAD_MS: Final = 86_400_000


def plausible_stamps(now: int) -> tuple[int, int]:
    """Return the earliest and the latest timestamp of a record that can be true at `now`, all in milliseconds."""
    return EARLIEST_STAMP_MS, now + _LATEST_AHEAD_MS


def plausible(timestamp: int, now: int) -> bool:
    """Return whether a record's timestamp can be true: neither before 2015 nor more than a day after `now` (ms)."""
    earliest, latest = plausible_stamps(now)
    return earliest <= timestamp <= latest


class Outcome(StrEnum):
    """What became of a record; together they account for every offset."""

    STORED = "stored"
    DEAD_LETTERED = "dead_lettered"
    IGNORED = "ignored"


class Stage(StrEnum):
    """Where a record was rejected."""

    FETCH = "fetch"
    DECODE = "decode"
    NORMALIZE = "normalize"
    SINK = "sink"


class Reason(StrEnum):
    """Why a record is not a row of `run_steps`."""

    # dead-lettered by position: no client can read it
    UNREADABLE = "unreadable"
    # dead-lettered by decode
    NOT_UTF8 = "not_utf8"
    INVALID_JSON = "invalid_json"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_COMPLEX = "too_complex"
    NOT_AN_OBJECT = "not_an_object"
    TOO_MANY_STEPS = "too_many_steps"
    # dead-lettered by normalize
    MISSING_STEP_ID = "missing_step_id"
    MISSING_RUN_ID = "missing_run_id"
    MISSING_CREATED_AT = "missing_created_at"
    UNREADABLE_CREATED_AT = "unreadable_created_at"
    # dead-lettered by the sink
    REFUSED_BY_SINK = "refused_by_sink"
    # ignored
    TOMBSTONE = "tombstone"
    EMPTY_VALUE = "empty_value"
    EMPTY_LIST = "empty_list"
    DELTA = "delta"
    NOT_A_RUN_STEP = "not_a_run_step"
    STREAM_CONTROL = "stream_control"


IGNORED_REASONS: Final = (
    Reason.TOMBSTONE,
    Reason.EMPTY_VALUE,
    Reason.EMPTY_LIST,
    Reason.DELTA,
    Reason.NOT_A_RUN_STEP,
    Reason.STREAM_CONTROL,
)
"""Those of records that are ignored; all others lead to a dead letter."""


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record for the dead-letter topic: the original, and why. `detail` never holds the record's value."""

    record: Record
    stage: Stage
    reason: Reason
    detail: str


class Unstored(NamedTuple):
    """Why a record, or a step in it, is no row of `run_steps`. No stage means that it is ignored, not rejected."""

    reason: Reason
    stage: Stage | None = None
    detail: str = ""
    step_id: str = ""
    run_id: str = ""
    thread_id: str = ""


class UnreadRecord(NamedTuple):
    """What stands for a record that is not read although Kafka holds it: its place; and why, if not for damage."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    verdict: Unstored | None = None


_LEDGER_WIDTH: Final = 12


def ledger_row(verdict: Unstored, record: Record, index: int) -> Row:
    """Return the row of a record that is accounted for but not stored: the ledger's columns, the rest blank."""
    outcome = Outcome.IGNORED if verdict.stage is None else Outcome.DEAD_LETTERED
    timestamp = max(record.timestamp, 0)
    known = (record.topic, record.partition, record.offset, timestamp, 0, index, outcome.value, verdict.reason.value)
    return (*known, None, verdict.thread_id, verdict.run_id, verdict.step_id, *BLANK_ROW[_LEDGER_WIDTH:])


def set_aside(dead_letters: list[InvalidRecord], record: Record, verdict: Unstored) -> None:
    """Add a rejected record to the dead letters; a record is sent once, however many of its steps are rejected.

    The steps of one record come one after the other here; a caller for whom they do not has to look at all.
    """
    if verdict.stage is None or (dead_letters and dead_letters[-1].record is record):
        return
    dead_letters.append(InvalidRecord(record, verdict.stage, verdict.reason, verdict.detail))
