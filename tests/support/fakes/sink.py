"""A `Sink` in memory that behaves as the real one does, and fails as it is scripted.

Two targets behind one insert, steps first and ledger last; each forgets the rows that a key replaces and remembers the
tokens of the latest inserts. An insert with a remembered token is dropped silently, whatever rows come with it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from pipeline.contracts import Columns, StepKey
from pipeline.errors import ErrorClass, SinkError, SinkRefused, SinkUnavailable
from pipeline.records import EARLIEST_STAMP_MS, FUTURE_TOLERANCE_MS, Outcome, Partition
from schemas.row import INGEST_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS
from schemas.vocabulary import TERMINAL_STATUSES

HOUR: Final = 3_600_000
Fields: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure to come: before anything is stored, between the two targets, or after all is (the OK got lost)."""

    error: SinkError
    when: Literal["before", "between", "after"] = "before"


@dataclass
class Target:
    """A ReplacingMergeTree: what is visible by key, what lies there physically, which tokens it remembers."""

    key: Callable[[Fields], tuple[Any, ...]]
    rank: Callable[[Fields], int]
    window: int
    visible: dict[tuple[Any, ...], Fields] = field(default_factory=dict)
    physical: int = 0

    def __post_init__(self) -> None:
        self.tokens: deque[str] = deque(maxlen=self.window)

    def merge(self) -> None:
        self.physical = len(self.visible)

    def store(self, rows: Sequence[Fields], token: str) -> None:
        if not rows or token in self.tokens:
            return
        self.tokens.append(token)
        self.physical += len(rows)
        for row in rows:
            key = self.key(row)
            if key not in self.visible or self.rank(row) >= self.rank(self.visible[key]):
                self.visible[key] = row


class FakeSink:
    """ClickHouse in memory. Script it through its attributes; read it through its views. Safe for two threads.

    Attributes:
        faults: what the next inserts meet, one each, in order; an insert without one passes.
        down: raised by every call while set.
        refuse: rows (as mappings) that violate a constraint of `run_steps`.
        most_rows: a larger insert is rejected for its shape.
        gone: views that are missing; what they would have copied is lost, and the insert is not believed.
        gate: cleared, an insert waits in it, as on a slow server.
        attempts: (token, number of rows) of every insert that was tried.
    """

    def __init__(self, window: int = 1_000) -> None:
        self.faults: deque[Fault] = deque()
        self.down: SinkError | None = None
        self.refuse: Callable[[Fields], bool] = lambda _: False
        self.most_rows = 1_000_000
        self.gone: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.attempts: list[tuple[str, int]] = []
        self.closed = False
        self._lock = threading.Lock()
        self._steps = Target(_step_key, lambda row: int(row["version"]), window)
        self._ledger = Target(_ledger_key, lambda _: 0, window)

    def insert(self, columns: Columns, token: str) -> None:
        """Store the rows in both targets, or fail as scripted."""
        self.gate.wait()
        with self._lock:
            self.attempts.append((token, len(columns[0])))
            self.raise_if_down()
            fault = self.faults.popleft() if self.faults else None
            if fault is not None and fault.when == "before":
                raise fault.error
            first, second = self.views(columns, token)
            first()
            if fault is not None and fault.when == "between":
                raise fault.error
            second()
            if fault is not None:
                raise fault.error
            self.raise_if_lacking()

    def views(self, columns: Columns, token: str) -> tuple[Callable[[], int], Callable[[], int]]:
        """Check the rows, and return what fills the two targets, and says with how many: the steps, then the ledger.

        Raises:
            SinkRefused: the rows, as they are, do not pass.
        """
        rows = [dict(zip(_NAMES, row, strict=True)) for row in zip(*columns, strict=True)]
        self._check(rows)
        steps = [_keep(row, STEP_COLUMNS) for row in rows if _passes(row)]
        ledger = [_keep(row, LEDGER_COLUMNS) for row in rows]
        return (
            partial(self._copy, "run_steps_mv", self._steps, steps, token),
            partial(self._copy, "run_step_ledger_mv", self._ledger, ledger, token),
        )

    def forget_tokens(self) -> None:
        """Lose the deduplication window of both targets, as expiry does, or a recreated table."""
        self._steps.tokens.clear()
        self._ledger.tokens.clear()

    def merge(self) -> None:
        """Drop the rows that a key has replaced."""
        self._steps.merge()
        self._ledger.merge()

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        """Return keys of steps that ended below that offset, the latest first."""
        with self._lock:
            self.raise_if_down()
            rows = [
                row
                for row in self._ledger.visible.values()
                if (row["kafka_topic"], row["kafka_partition"]) == tuple(partition)
                and row["kafka_offset"] < below
                and row["outcome"] == Outcome.STORED
                and row["status"] in TERMINAL_STATUSES
                and not (
                    row["kafka_timestamp"] >= EARLIEST_STAMP_MS
                    and (row["occurred_at"] or 0) - row["kafka_timestamp"] > FUTURE_TOLERANCE_MS
                )
            ]
        rows.sort(key=lambda row: row["kafka_offset"], reverse=True)
        return list(dict.fromkeys(_id(row) for row in rows))[:limit]

    def probe(self) -> None:
        """Fail while `down`, or while a view is gone."""
        self.raise_if_down()
        self.raise_if_lacking()

    def close(self) -> None:
        """Take note of it; the fake can be used on, as the real one can."""
        self.closed = True

    def rows_current(self) -> dict[StepKey, Fields]:
        """Return what `run_steps_current` shows, by step key."""
        with self._lock:
            return {_id(row): row for row in self._steps.visible.values()}

    def ledger(self) -> dict[tuple[Any, ...], Fields]:
        """Return the account by (topic, partition, offset, timestamp, step index)."""
        with self._lock:
            return dict(self._ledger.visible)

    def physical_rows(self) -> tuple[int, int]:
        """Return how many rows lie in `run_steps` and in the ledger, replaced ones included."""
        with self._lock:
            return self._steps.physical, self._ledger.physical

    def raise_if_down(self) -> None:
        """Fail while `down`."""
        if self.down is not None:
            raise self.down

    def raise_if_lacking(self) -> None:
        """Fail while a view is gone."""
        if self.gone:
            cause = "; ".join(f"view {view} is missing, so its rows would be lost" for view in sorted(self.gone))
            raise SinkUnavailable(f"{cause}; run `runstep migrate`", ErrorClass.ENVIRONMENT)

    def _copy(self, view: str, target: Target, rows: Sequence[Fields], token: str) -> int:
        if view in self.gone:
            return 0
        target.store(rows, token)
        return len(rows)

    def _check(self, rows: Sequence[Fields]) -> None:
        if len(rows) > self.most_rows:
            raise SinkRefused("ClickHouse error 241 (MEMORY_LIMIT_EXCEEDED): too many rows", ErrorClass.SHAPE, 241)
        for row in rows:
            unfit = [name for name, kind in _TYPES.items() if not _fits(kind, row[name])]
            if unfit:
                raise SinkRefused(f"a value in column {unfit[0]} does not fit its type", ErrorClass.SCHEMA)
            if _passes(row) and self.refuse(row):
                raise SinkRefused("ClickHouse error 469 (VIOLATED_CONSTRAINT): a row", ErrorClass.SCHEMA, 469)


_NAMES: Final = tuple(column.name for column in INGEST_COLUMNS)
_TYPES: Final = {column.name: column.type for column in INGEST_COLUMNS}
_RANGES: Final = {
    "Int32": range(-(2**31), 2**31),
    "Int64": range(-(2**63), 2**63),
    "UInt16": range(2**16),
    "UInt64": range(2**64),
    "DateTime64(3, 'UTC')": range(-(2**63), 2**63),
}


def _fits(kind: str, value: Any) -> bool:
    """Return whether the driver could encode the value."""
    if kind.startswith("Nullable("):
        return value is None or _fits(kind[len("Nullable(") : -1], value)
    if kind in _RANGES:
        return isinstance(value, int) and value in _RANGES[kind]
    if kind == "Bool":
        return isinstance(value, bool)
    if kind.startswith("Array("):
        return isinstance(value, list) and all(_fits("String", item) for item in value)
    if kind.startswith("Map("):
        return isinstance(value, dict) and all(_fits("String", word) for pair in value.items() for word in pair)
    return isinstance(value, str) and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _keep(row: Fields, names: Sequence[str]) -> Fields:
    return {name: row[name] for name in names}


def _passes(row: Fields) -> bool:
    """Return whether the view copies the row into `run_steps`."""
    return row["outcome"] == Outcome.STORED and not row["is_superseded"]


def _id(row: Fields) -> StepKey:
    return row["thread_id"], row["run_id"], row["step_id"]


def _step_key(row: Fields) -> tuple[Any, ...]:
    return row["created_at"] // HOUR, *_id(row)


def _ledger_key(row: Fields) -> tuple[Any, ...]:
    names = ("kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp", "step_index")
    return tuple(row[name] for name in names)
