"""Every metric: its name, labels and help text.

The names are a contract with dashboards, alerts and other people's queries. Label values come from closed
vocabularies, so the number of series is fixed; only topics and partitions vary, bounded by what Kafka assigns. Ids are
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
"""The values a label can have; None: any, since others name them (topics, partitions, versions)."""


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """The definition of a metric.

    Attributes:
        kind: a counter only grows, a gauge goes up and down, a histogram counts values up to each bound.
        name: as exposed.
        help: the HELP text of a scrape.
        labels: their names, in order, and the values they can have.
        combinations: the label values that can occur together; None: all of them.
        bounds: upper bounds of a histogram's buckets, ascending, without infinity.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: Mapping[str, Vocabulary]
    combinations: Sequence[LabelValues] | None = None
    bounds: tuple[float, ...] = ()

    def start(self) -> Sequence[LabelValues]:
        """Return the label values that exist at 0 from the start; an alert cannot see a missing series."""
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

_DEAD_LETTERED: Final = tuple(reason for reason in Reason if reason not in IGNORED_REASONS)
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
    "Duration of ended steps, from creation to end; a step counts once.",
    _TYPE_STATUS,
)
STEPS: Final = Spec(
    "counter",
    "runstep_steps_total",
    "Steps that ended, by type and status; a step counts once.",
    _TYPE_STATUS,
)
FAILURES: Final = Spec(
    "counter",
    "runstep_step_failures_total",
    "Steps that failed or expired, by type and error category; a step counts once.",
    {"type": _TYPES, "error_category": ERROR_CATEGORIES},
)
TOKENS: Final = Spec(
    "counter",
    "runstep_tokens_total",
    "Tokens that ended steps used.",
    {"token_type": ("input", "output")},
)
TOOL_CALLS: Final = Spec(
    "counter",
    "runstep_tool_calls_total",
    "Tool calls of ended steps, by tool type.",
    {"tool_type": _TOOLS},
)
BACKFILLED: Final = Spec(
    "counter",
    "runstep_backfilled_steps_total",
    "Steps that ended longer than normalize.backfill_after before they were read; they count in no other step metric.",
    _TYPE_STATUS,
)
ANOMALY: Final = Spec(
    "counter",
    "runstep_anomalies_total",
    "Doubtful or repaired values in stored events, by anomaly.",
    {"anomaly": ANOMALIES},
)
RECORDS: Final = Spec(
    "counter",
    "runstep_records_total",
    "Kafka records that were read, by outcome, and by reason where they were not stored.",
    {"outcome": tuple(Outcome), "reason": ("", *Reason)},
    combinations=_ACCOUNTED,
)
RECORDS_LOST: Final = Spec(
    "counter",
    "runstep_records_lost_total",
    "Offsets that Kafka had deleted (retention, truncation) before the daemon read them.",
    _PARTITION,
)
INSERTS: Final = Spec(
    "counter",
    "runstep_inserts_total",
    "Insert attempts, by outcome.",
    {"outcome": _INSERTED},
)
INSERT_DURATION: Final = Spec(
    "histogram",
    "runstep_insert_duration_seconds",
    "Duration of insert attempts, by outcome.",
    {"outcome": _INSERTED},
    # Below 100 ms ClickHouse is fast; above 1 s, the age of a batch, it delays batches; 60 s is the time-out.
    bounds=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
INSERT_ROWS: Final = Spec(
    "histogram",
    "runstep_insert_rows",
    "Rows in each successful insert.",
    _UNLABELLED,
    # ClickHouse needs at least 1,000 rows for each insert and works best with 10,000 to 100,000.
    bounds=(1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0, 250_000.0, 1_000_000.0),
)
INSERT_RETRIES: Final = Spec(
    "counter",
    "runstep_insert_retries_total",
    "Inserts that were retried, by the class of the error.",
    {"error_class": tuple(ErrorClass)},
)
INSERT_SPLITS: Final = Spec(
    "counter",
    "runstep_insert_splits_total",
    "Inserts that were sent again in halves: ClickHouse rejected the size, or larger inserts do not get through to it.",
    {"error_class": (ErrorClass.SHAPE, ErrorClass.AMBIGUOUS)},
)
INGEST_DELAY: Final = Spec(
    "histogram",
    "runstep_ingest_delay_seconds",
    "Time from a record's Kafka timestamp to its acknowledged insert; 0 if the timestamp is in the future.",
    _UNLABELLED,
    # Seconds: live. Minutes: behind. Hours: catching up after an outage. Days: reading history.
    bounds=(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0),
)
BUFFER_ROWS: Final = Spec(
    "gauge",
    "runstep_buffer_rows",
    "Rows in memory that wait to be inserted.",
    _UNLABELLED,
)
BUFFER_OLDEST: Final = Spec(
    "gauge",
    "runstep_buffer_oldest_timestamp_seconds",
    "Kafka timestamp of the oldest record in memory that waits to be inserted; 0 if none waits.",
    _UNLABELLED,
)
SINK_AVAILABLE: Final = Spec(
    "gauge",
    "runstep_sink_available",
    "1 if ClickHouse accepts inserts; 0 if it does not, or has not yet.",
    _UNLABELLED,
)
SOURCE_AVAILABLE: Final = Spec(
    "gauge",
    "runstep_source_available",
    "1 if the daemon can read Kafka; 0 if it cannot, or could not yet.",
    _UNLABELLED,
)
THROTTLED: Final = Spec(
    "counter",
    "runstep_throttled_seconds_total",
    "Pauses that brokers ordered by their quotas, in seconds; those of several brokers at a time are added.",
    _UNLABELLED,
)
LAG: Final = Spec(
    "gauge",
    "runstep_consumer_lag_records",
    "Records from the position to the end; of a halted partition, from its committed offset. Absent while unknown.",
    _PARTITION,
)
UNSTABLE: Final = Spec(
    "gauge",
    "runstep_unstable_records",
    "Offsets behind the last stable one, which wait until a producer's transaction ends. Absent while unknown.",
    _PARTITION,
)
POSITION: Final = Spec(
    "gauge",
    "runstep_consumer_position_timestamp_seconds",
    "Kafka timestamp of the last record read.",
    _PARTITION,
)
LAST_POLL: Final = Spec(
    "gauge",
    "runstep_last_poll_timestamp_seconds",
    "Time of the last successful poll of Kafka; 0 before the first.",
    _UNLABELLED,
)
LAST_INSERT: Final = Spec(
    "gauge",
    "runstep_last_insert_timestamp_seconds",
    "Time of the last successful insert; 0 before the first.",
    _UNLABELLED,
)
ASSIGNED: Final = Spec(
    "gauge",
    "runstep_assigned_partitions",
    "Partitions assigned to the daemon.",
    _UNLABELLED,
)
HALTED: Final = Spec(
    "gauge",
    "runstep_halted_partitions",
    "Assigned partitions that are halted; each is retried every retry.halted_delay seconds.",
    _UNLABELLED,
)
COMMITS: Final = Spec(
    "counter",
    "runstep_commits_total",
    "Offset commits, by outcome: ok, deferred (to be retried) or fenced (the partition has a new owner).",
    {"outcome": _COMMITTED},
)
REBALANCES: Final = Spec(
    "counter",
    "runstep_rebalances_total",
    "Partitions that the group assigned to the daemon or took from it, counted each time.",
    {"kind": _REBALANCED},
)
BUILD_INFO: Final = Spec(
    "gauge",
    "runstep_build_info",
    "Always 1; the labels name the version, revision and Python of the build.",
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
    INSERT_SPLITS,
    INGEST_DELAY,
    BUFFER_ROWS,
    BUFFER_OLDEST,
    SINK_AVAILABLE,
    SOURCE_AVAILABLE,
    THROTTLED,
    LAG,
    UNSTABLE,
    POSITION,
    LAST_POLL,
    LAST_INSERT,
    ASSIGNED,
    HALTED,
    COMMITS,
    REBALANCES,
    BUILD_INFO,
)
"""All metrics, in the order of a scrape."""
