"""Every metric there is: name, labels and the question it answers.

The names are a contract with dashboards, alerts and other people's queries. Label values come from closed
vocabularies, so the number of series is fixed (but for topic and partition, bounded by what Kafka assigns); ids are
exemplars, never labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias

from pipeline.errors import ErrorClass
from pipeline.records import IGNORED_REASONS, Outcome, Reason
from schemas.vocabulary import ANOMALIES, ERROR_CATEGORIES, OTHER, STEP_TYPES, TERMINAL_STATUSES, TOOL_TYPES

LabelValues: TypeAlias = tuple[str, ...]
Vocabulary: TypeAlias = Sequence[str] | None
"""The values a label can have; None where they are not ours to decide (topics, partitions, versions)."""


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """What a metric is.

    Attributes:
        kind: a counter only grows, a gauge goes up and down, a histogram counts values up to each bound.
        name: as exposed.
        help: the question it answers.
        labels: their names, in order, and what values they can have.
        combinations: the label values that make sense together; None: all of them.
        bounds: upper bounds of a histogram's buckets, ascending, without infinity.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: Mapping[str, Vocabulary]
    combinations: Sequence[LabelValues] | None = None
    bounds: tuple[float, ...] = ()

    def start(self) -> Sequence[LabelValues]:
        """Return the label values that exist at 0 before anything happened; a missing series cannot be alerted on."""
        if self.combinations is not None:
            return self.combinations
        known = [vocabulary for vocabulary in self.labels.values() if vocabulary is not None]
        return tuple(product(*known)) if len(known) == len(self.labels) else ()


_TYPES: Final = (*sorted(STEP_TYPES), OTHER)
_STATUSES: Final = tuple(sorted(TERMINAL_STATUSES))
_TOOLS: Final = (*sorted(TOOL_TYPES), OTHER)
_INSERTED: Final = ("ok", "failed")
_COMMITTED: Final = ("ok", "deferred", "fenced")
_REBALANCED: Final = ("assigned", "revoked", "lost")

_DEAD_LETTERED: Final = (
    Reason.UNREADABLE,
    Reason.NOT_UTF8,
    Reason.INVALID_JSON,
    Reason.TOO_DEEP,
    Reason.TOO_LARGE,
    Reason.NOT_AN_OBJECT,
    Reason.TOO_MANY_STEPS,
    Reason.MISSING_STEP_ID,
    Reason.MISSING_RUN_ID,
    Reason.MISSING_CREATED_AT,
    Reason.UNREADABLE_CREATED_AT,
    Reason.REFUSED_BY_SINK,
)
_ACCOUNTED: Final[tuple[LabelValues, ...]] = (
    (Outcome.STORED.value, ""),
    *((Outcome.DEAD_LETTERED.value, reason.value) for reason in _DEAD_LETTERED),
    *((Outcome.IGNORED.value, reason.value) for reason in IGNORED_REASONS),
)

_UNLABELLED: Final[dict[str, Vocabulary]] = {}
_TYPE_STATUS: Final[dict[str, Vocabulary]] = {"type": _TYPES, "status": _STATUSES}
_PARTITION: Final[dict[str, Vocabulary]] = {"topic": None, "partition": None}


STEP_DURATION: Final = Spec(
    "histogram",
    "runstep_step_duration_seconds",
    "How long do steps take: end minus creation, once per step that ended.",
    _TYPE_STATUS,
)
STEPS: Final = Spec(
    "counter",
    "runstep_steps_total",
    "How many steps ended, and how: once per step.",
    _TYPE_STATUS,
)
FAILURES: Final = Spec(
    "counter",
    "runstep_step_failures_total",
    "Why do steps fail or expire: once per step.",
    {"type": _TYPES, "error_category": ERROR_CATEGORIES},
)
TOKENS: Final = Spec(
    "counter",
    "runstep_tokens_total",
    "How many tokens did the steps that ended use.",
    {"token_type": ("input", "output")},
)
TOOL_CALLS: Final = Spec(
    "counter",
    "runstep_tool_calls_total",
    "Which tools did the steps that ended call, and how often.",
    {"tool_type": _TOOLS},
)
BACKFILLED: Final = Spec(
    "counter",
    "runstep_backfilled_steps_total",
    "How many steps ended too long before they were read to be news: they are in no other step metric.",
    _TYPE_STATUS,
)
ANOMALY: Final = Spec(
    "counter",
    "runstep_anomalies_total",
    "What was doubtful in the events, or had to be repaired.",
    {"anomaly": ANOMALIES},
)
RECORDS: Final = Spec(
    "counter",
    "runstep_records_total",
    "What became of every Kafka record that was read, and why it was not stored.",
    {"outcome": tuple(Outcome), "reason": ("", *Reason)},
    combinations=_ACCOUNTED,
)
RECORDS_LOST: Final = Spec(
    "counter",
    "runstep_records_lost_total",
    "How many offsets were gone from Kafka (retention, truncation) before they were read.",
    _PARTITION,
)
INSERTS: Final = Spec(
    "counter",
    "runstep_inserts_total",
    "How many inserts were tried, and how did they end.",
    {"outcome": _INSERTED},
)
INSERT_DURATION: Final = Spec(
    "histogram",
    "runstep_insert_duration_seconds",
    "How long does ClickHouse take for an insert, or to fail at it.",
    {"outcome": _INSERTED},
    # Is ClickHouse fast (below 100 ms), does it slow the batches down (above 1 s, their age), how near is the time-out
    # (60 s)?
    bounds=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
INSERT_ROWS: Final = Spec(
    "histogram",
    "runstep_insert_rows",
    "How large are the inserts that succeeded.",
    _UNLABELLED,
    # Are inserts large enough for ClickHouse, which wants at least 1,000 rows and likes 10,000 to 100,000?
    bounds=(1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0, 250_000.0, 1_000_000.0),
)
INSERT_RETRIES: Final = Spec(
    "counter",
    "runstep_insert_retries_total",
    "Why were inserts tried again.",
    {"error_class": tuple(ErrorClass)},
)
INGEST_DELAY: Final = Spec(
    "histogram",
    "runstep_ingest_delay_seconds",
    "How old is a record when it can be queried: acknowledged insert minus Kafka's timestamp (0 if that is ahead).",
    _UNLABELLED,
    # Is it live (seconds), behind (minutes), catching up after an outage (hours), or reading history (days)?
    bounds=(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0),
)
BUFFER_ROWS: Final = Spec(
    "gauge",
    "runstep_buffer_rows",
    "How many rows wait in memory to be inserted.",
    _UNLABELLED,
)
BUFFER_OLDEST: Final = Spec(
    "gauge",
    "runstep_buffer_oldest_timestamp_seconds",
    "How old is what waits in memory: Kafka's timestamp of its oldest record; 0 when nothing waits.",
    _UNLABELLED,
)
SINK_AVAILABLE: Final = Spec(
    "gauge",
    "runstep_sink_available",
    "Does ClickHouse take our inserts (1) or not, or not yet (0).",
    _UNLABELLED,
)
SOURCE_AVAILABLE: Final = Spec(
    "gauge",
    "runstep_source_available",
    "Can Kafka be read (1) or not, or not yet (0).",
    _UNLABELLED,
)
LAG: Final = Spec(
    "gauge",
    "runstep_consumer_lag_records",
    "How many records does Kafka hold that we have not read; absent while nobody knows.",
    _PARTITION,
)
POSITION: Final = Spec(
    "gauge",
    "runstep_consumer_position_timestamp_seconds",
    "How far have we read: Kafka's timestamp of the last record.",
    _PARTITION,
)
LAST_POLL: Final = Spec(
    "gauge",
    "runstep_last_poll_timestamp_seconds",
    "Is the loop alive: when did Kafka last let itself be polled; 0 before the first time.",
    _UNLABELLED,
)
LAST_INSERT: Final = Spec(
    "gauge",
    "runstep_last_insert_timestamp_seconds",
    "Is data arriving: when did an insert last succeed; 0 before the first time.",
    _UNLABELLED,
)
ASSIGNED: Final = Spec(
    "gauge",
    "runstep_assigned_partitions",
    "How many partitions are ours.",
    _UNLABELLED,
)
HALTED: Final = Spec(
    "gauge",
    "runstep_halted_partitions",
    "How many of our partitions stand still until a person looks.",
    _UNLABELLED,
)
COMMITS: Final = Spec(
    "counter",
    "runstep_commits_total",
    "How many offset commits were tried, and how did they end.",
    {"outcome": _COMMITTED},
)
REBALANCES: Final = Spec(
    "counter",
    "runstep_rebalances_total",
    "How many partitions did the group give us or take away, counted each time.",
    {"kind": _REBALANCED},
)
BUILD_INFO: Final = Spec(
    "gauge",
    "runstep_build_info",
    "Which build is running.",
    {"version": None, "revision": None, "python": None},
)

SPECS: Final = (
    STEP_DURATION,
    STEPS,
    FAILURES,
    TOKENS,
    TOOL_CALLS,
    BACKFILLED,
    ANOMALY,
    RECORDS,
    RECORDS_LOST,
    INSERTS,
    INSERT_DURATION,
    INSERT_ROWS,
    INSERT_RETRIES,
    INGEST_DELAY,
    BUFFER_ROWS,
    BUFFER_OLDEST,
    SINK_AVAILABLE,
    SOURCE_AVAILABLE,
    LAG,
    POSITION,
    LAST_POLL,
    LAST_INSERT,
    ASSIGNED,
    HALTED,
    COMMITS,
    REBALANCES,
    BUILD_INFO,
)
"""All of them, in the order in which a scrape shows them."""
