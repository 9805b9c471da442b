"""The numbers that a committed part of a batch adds to the metrics.

Owns the counting rules: a step counts once, old steps count as backfill only, labels are bounded. Pure: `tally` reads
columns and the set of steps already counted, and touches no metric.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Final

from pipeline.contracts import Columns, StepKey
from pipeline.records import FUTURE_TOLERANCE_MS, Outcome, plausible, plausible_stamps
from schemas.row import INDEX
from schemas.vocabulary import FAILURE_STATUSES, OTHER, STEP_TYPES, TERMINAL_STATUSES, TOOL_TYPES, label


@dataclass(slots=True)
class Duration:
    """The duration of an ended step, with the ids that link a histogram bucket to the row."""

    seconds: float
    run_id: str
    step_id: str


@dataclass(slots=True)
class Counts:
    """Numbers to add, keyed by label values in the order of the metric's labels."""

    records: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(outcome, reason) of every record."""
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, status) of steps that ended."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, error_category) of steps that failed or expired."""
    backfilled: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, status) of steps that ended so long ago that they count as backfill only."""
    tokens: Counter[str] = field(default_factory=Counter)
    """Tokens of steps that ended, by `input` and `output`."""
    tool_calls: Counter[str] = field(default_factory=Counter)
    """Tool calls of steps that ended, by tool type."""
    anomalies: Counter[str] = field(default_factory=Counter)
    """Anomalies of all rows."""
    durations: dict[tuple[str, str], list[Duration]] = field(default_factory=dict)
    """(type, status) to the durations of steps that ended."""
    delays: list[float] = field(default_factory=list)
    """Seconds from the record's timestamp to the acknowledged insert, one a record whose timestamp can be true."""


class CountedSteps:
    """The steps of one partition that are counted already: bounded, the oldest are forgotten first.

    Holds hashes, not keys: 100,000 of them take 10 MB, and two steps share one in less than one of a billion cases.
    """

    def __init__(self, limit: int, known: Iterable[StepKey] = ()) -> None:
        self._limit = limit
        self._order = deque(dict.fromkeys(map(hash, known)))
        self._hashes = set(self._order)

    def first_time(self, key: StepKey) -> bool:
        """Return whether the step is new, and remember it."""
        code = hash(key)
        if code in self._hashes:
            return False
        self._hashes.add(code)
        self._order.append(code)
        if len(self._order) > self._limit:
            self._hashes.discard(self._order.popleft())
        return True

    def __len__(self) -> int:
        return len(self._hashes)


def tally(columns: Columns, counted: CountedSteps, acknowledged_at: float, backfill_ms: int) -> Counts:
    """Return what a committed part adds to the metrics, and remember its steps as counted.

    Args:
        columns: the part's columns, in the order of `schemas.row.INGEST_COLUMNS`.
        counted: the steps of this partition that are counted already; the new ones are added.
        acknowledged_at: when the insert was acknowledged, in seconds since the epoch.
        backfill_ms: a step that ended longer ago than this when read counts as backfill only.
    """
    counts = Counts()
    _tally_records(columns, acknowledged_at, counts)
    for noted in filter(None, columns[INDEX["anomalies"]]):
        counts.anomalies.update(noted)
    ended = [status in TERMINAL_STATUSES for status in columns[INDEX["status"]]]
    for step in zip(*[compress(columns[position], ended) for position in _COUNTED], strict=True):
        _tally_step(step, counted, backfill_ms, counts)
    return counts


_SEVERITY: Final = {Outcome.DEAD_LETTERED.value: 2, Outcome.STORED.value: 1, Outcome.IGNORED.value: 0}


def _tally_records(columns: Columns, acknowledged_at: float, counts: Counts) -> None:
    """Count each record once; one with several steps has the worst of their outcomes."""
    outcomes, reasons = columns[INDEX["outcome"]], columns[INDEX["reason"]]
    timestamps = columns[INDEX["kafka_timestamp"]]
    if any(columns[INDEX["step_index"]]):
        worst: dict[int, int] = {}
        for row, offset in enumerate(columns[INDEX["kafka_offset"]]):
            known = worst.setdefault(offset, row)
            if _SEVERITY[outcomes[row]] > _SEVERITY[outcomes[known]]:
                worst[offset] = row
        rows = worst.values()
        outcomes, reasons = [outcomes[row] for row in rows], [reasons[row] for row in rows]
        timestamps = [timestamps[row] for row in rows]
    unstored = Counter((outcomes[row], reason) for row, reason in enumerate(reasons) if reason)
    counts.records.update(unstored)
    counts.records[Outcome.STORED.value, ""] += len(outcomes) - unstored.total()
    earliest, latest = plausible_stamps(int(acknowledged_at * 1000))
    counts.delays.extend([max(acknowledged_at - at / 1000, 0.0) for at in timestamps if earliest <= at <= latest])


_COUNTED: Final = tuple(
    INDEX[name]
    for name in (
        "thread_id",
        "run_id",
        "step_id",
        "type",
        "status",
        "ingested_at",
        "created_at",
        "ended_at",
        "duration_ms",
        "error_category",
        "prompt_tokens",
        "completion_tokens",
        "tool_types",
        "anomalies",
        "kafka_timestamp",
    )
)


def _tally_step(step: tuple[Any, ...], counted: CountedSteps, backfill_ms: int, counts: Counts) -> None:
    """Count a step that ended (the values of `_COUNTED`), once; an old one as backfill only."""
    thread_id, run_id, step_id, sent, status, read_at, created_at, ended_at, duration, category, *rest = step
    prompt, completion, tools, anomalies, stamp = rest
    ahead = _lies_ahead(ended_at or created_at, anomalies, stamp, read_at)
    if ahead or not counted.first_time((thread_id, run_id, step_id)):
        return
    kind = sent if sent in STEP_TYPES else OTHER
    key = (kind, status)
    if read_at - (ended_at or created_at) > backfill_ms:
        counts.backfilled[key] += 1
        return
    counts.steps[key] += 1
    if status in FAILURE_STATUSES:
        counts.failures[kind, category] += 1
    if duration is not None:
        counts.durations.setdefault(key, []).append(Duration(duration / 1000, run_id, step_id))
    if prompt:
        counts.tokens["input"] += prompt
    if completion:
        counts.tokens["output"] += completion
    for tool in tools:
        counts.tool_calls[label(tool, TOOL_TYPES)] += 1


def _lies_ahead(instant: int, anomalies: Sequence[str], stamp: int, read_at: int) -> bool:
    """Return whether a step ends in the future: by its record's timestamp, or by the clock where that cannot be true.

    Such a step is in no metric of steps, and not remembered: a true end that comes later counts.
    """
    if "future_timestamp" in anomalies:
        return True
    return instant > read_at + FUTURE_TOLERANCE_MS and not plausible(stamp, read_at)
