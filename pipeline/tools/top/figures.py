"""What `top` shows, as numbers: the contract of `runstep top --json`, and all that the screen draws from.

Rates are per second, durations and ages in seconds, times in seconds since 1970, sizes in bytes. None means unknown.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Trend: TypeAlias = Literal["unknown", "caught up", "shrinking", "steady", "growing"]
PartitionState: TypeAlias = Literal["read", "halted", "away", "gone"]


AWAY: Final = "away"
"""The state of a member that does not answer."""


@dataclass(frozen=True, slots=True)
class MemberFigures:
    """A process: a daemon, or one of its workers.

    Attributes:
        name: its address; for a worker with `#worker` appended.
        worker: the worker's name; None for the process that answers at the address.
        state: as in /status; `away` when it does not answer.
        causes: why records do not become rows, or why it is away.
        records: per second, with an outcome.
        rows_per_insert: the mean.
        cpu: 1.0 is one core; of an address with workers: all together.
        partitions: how many it owns.
        started_at: when its process began.
    """

    name: str
    worker: str | None
    state: str
    causes: tuple[str, ...] = ()
    version: str = ""
    records: float | None = None
    insert_p50: float | None = None
    insert_p95: float | None = None
    rows_per_insert: float | None = None
    buffer_rows: int | None = None
    breaker: str = ""
    sink_available: bool | None = None
    source_available: bool | None = None
    cpu: float | None = None
    memory: float | None = None
    partitions: int = 0
    lag: int | None = None
    started_at: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the member does not answer."""
        return self.state == AWAY


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """A partition that a member owns, or owned within the last minute.

    Attributes:
        name: topic/number.
        daemon: the address of its owner.
        member: the name of its owner.
        state: `away`: its owner does not answer; `gone`: no member that is shown owns it.
        lag: records that Kafka holds behind the position; the last known number.
        lags: the earlier ones, the oldest first.
        rate: records per second, by its position.
        age: how old the last record that was read is; 0 when Kafka holds no more.
        halted: why it is halted; None when it is not.
    """

    name: str
    topic: str
    number: int
    daemon: str
    member: str
    state: PartitionState
    position: int | None
    committed: int | None
    lag: int | None
    lags: tuple[int, ...]
    lag_growth: float | None
    rate: float | None
    age: float | None
    halted: str | None


@dataclass(frozen=True, slots=True)
class OutcomeFigures:
    """What became of records, and why; `total` counts since the members began."""

    outcome: str
    reason: str
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """A class of insert errors: its last error with member and time, and how often inserts were retried for it.

    Attributes:
        seen_at: None for an error from before the first round.
    """

    error_class: str
    member: str
    text: str
    seen_at: float | None
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """How steps of a type end: rate, share that completed, percentiles of duration; over the last minute."""

    type: str
    rate: float
    success: float | None
    p50: float | None
    p95: float | None
    total: float


@dataclass(frozen=True, slots=True)
class FailureFigures:
    """An error category of steps that failed or expired."""

    category: str
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is known at one moment.

    Attributes:
        at: the time of these figures.
        seconds: over which the rates are averaged.
        group: the consumer group, '' where it is not known.
        causes: what is wrong, and with which members; empty when all is well.
        records: per second, with an outcome.
        rows: per second, inserted.
        lag: records behind the position, of all partitions.
        trend: how the lag develops; `unknown` also while a member with partitions is away.
        catch_up: seconds until there is no lag, at the present rate.
        backlog_age: age of the oldest record that waits, over the partitions that report one.
        delay_p95: from Kafka's timestamp to the acknowledged insert.
        speeds, lags: the history of `records` and `lag`, the oldest first, one for each sample.
    """

    at: float
    seconds: float
    group: str
    topics: tuple[str, ...]
    causes: tuple[str, ...]
    records: float | None
    rows: float | None
    lag: int | None
    lag_growth: float | None
    trend: Trend
    catch_up: float | None
    backlog_age: float | None
    delay_p95: float | None
    members: tuple[MemberFigures, ...]
    partitions: tuple[PartitionFigures, ...]
    outcomes: tuple[OutcomeFigures, ...]
    troubles: tuple[ErrorFigures, ...]
    steps: tuple[StepFigures, ...]
    failures: tuple[FailureFigures, ...]
    speeds: tuple[float, ...]
    lags: tuple[float, ...]

    @property
    def answering(self) -> int:
        """How many addresses answer."""
        return sum(member.worker is None and not member.is_away for member in self.members)
