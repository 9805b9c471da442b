"""What is shown, as numbers: the contract of `runstep top --json`, and all that the screen knows.

Rates are per second, durations and ages in seconds, times of the day in seconds since 1970, sizes in bytes. None is
what nobody knows.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Trend: TypeAlias = Literal["unknown", "caught up", "shrinking", "steady", "growing"]
PartitionState: TypeAlias = Literal["read", "halted", "away", "gone"]


AWAY: Final = "away"
"""The state of who does not answer."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process: a daemon, or one of its workers.

    Attributes:
        name: its address, with `#worker` behind it where it is a worker.
        worker: None for what answers at the address.
        state: as it says itself; `away` when it does not answer.
        causes: why records do not become rows, or why it is away.
        records: per second, accounted for.
        rows_per_insert: the mean.
        cpu: 1.0 is one core; of an address with workers: all together.
        partitions: how many are its.
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
        """Whether nobody answers there."""
        return self.state == AWAY


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition that a member has, or had a short time ago.

    Attributes:
        name: topic/number.
        daemon: the address of who has it.
        member: the name of who has it.
        state: `away`: its member is; `gone`: no member that is shown has it any more.
        lag: records behind position; the last that is known.
        lags: those before, the oldest first.
        rate: records per second, by its position.
        age: how old the last record that was read is while there are more; 0 when there are none.
        halted: why it stands still.
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
class Outcome:
    """What became of records, and why; `total` counts since the members began."""

    outcome: str
    reason: str
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A class of errors: the last one's text, whose it was, when it was, and how often inserts were tried again for it.

    Attributes:
        seen_at: None for what was before we looked.
    """

    error_class: str
    member: str
    text: str
    seen_at: float | None
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class Steps:
    """How steps of a type end: per second, how many of them well, how long they took; over the last minute."""

    type: str
    rate: float
    success: float | None
    p50: float | None
    p95: float | None
    total: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why steps fail or expire."""

    category: str
    rate: float
    total: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything at one moment.

    Attributes:
        at: when.
        seconds: how far the rates reach back.
        group: the consumer group, '' where it is not known.
        causes: what is wrong, with whom it is; empty when all is well.
        records: per second, accounted for.
        rows: per second, inserted.
        lag: records behind the position, of all partitions.
        trend: what the lag does; `unknown` also while a member with partitions is away.
        catch_up: seconds until there is no lag at this pace.
        backlog_age: of the oldest record that waits, as far as anybody knows.
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
    members: tuple[Member, ...]
    partitions: tuple[Partition, ...]
    outcomes: tuple[Outcome, ...]
    troubles: tuple[Trouble, ...]
    steps: tuple[Steps, ...]
    failures: tuple[Failure, ...]
    speeds: tuple[float, ...]
    lags: tuple[float, ...]

    @property
    def answering(self) -> int:
        """How many addresses answer."""
        return sum(member.worker is None and not member.is_away for member in self.members)
