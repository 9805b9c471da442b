"""Makes figures of the daemons' answers, round by round. Pure: it is given the time, and does no IO."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.tools.top.counters import Flow, Samples, added, grouped
from pipeline.tools.top.figures import ErrorFigures, FailureFigures, Figures, OutcomeFigures, StepFigures
from pipeline.tools.top.partition_owners import (
    RATE_WINDOW_S,
    TREND_WINDOW_S,
    Ownership,
    PartitionOwners,
    growth,
    lately,
    trend,
)
from pipeline.tools.top.sampling import Answered, Round
from pipeline.tools.top.watched_daemon import RECORDS, STEP_WINDOW_S, WatchedDaemon

_MAX_POINTS: Final = 600
_RETRIES: Final = "runstep_insert_retries_total"
_LOST: Final = "runstep_records_lost_total"
_STEPS: Final = "runstep_steps_total"
_DURATION: Final = "runstep_step_duration_seconds"
_FAILURES: Final = "runstep_step_failures_total"
_COMPLETED: Final = "completed"
_ALWAYS: Final = ("stored", "")


class _LastError(NamedTuple):
    member: str
    text: str
    seen_at: float | None


class LastErrors:
    """The last error of each class, over all members.

    /status gives no time of an error. It counts as seen now if its text is new or its class has more retries.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[str, float]]] = {}
        self._last: dict[str, _LastError] = {}

    def take(self, answer: Answered, wall: float) -> None:
        """Take the errors of an answer."""
        retries = grouped(answer.samples, _RETRIES, "error_class")
        errors = {name: (text, retries.get(name, 0.0)) for name, text in answer.status.last_error.items()}
        before = self._known.get(answer.address)
        for error_class, (text, number) in errors.items():
            if before is None:
                self._last.setdefault(error_class, _LastError(answer.address, text, None))
            elif before.get(error_class) != (text, number):
                self._last[error_class] = _LastError(answer.address, text, wall)
        self._known[answer.address] = errors

    def shown(self, flow: Flow, counted: Samples) -> tuple[ErrorFigures, ...]:
        """Return the last error of each class, the latest first."""
        pace, totals = flow.by(_RETRIES, "error_class"), grouped(counted, _RETRIES, "error_class")
        classes = [*self._last, *(name for name, number in totals.items() if number and name not in self._last)]
        rows = [
            ErrorFigures(
                name, *self._last.get(name, _LastError("", "", None)), pace.get(name, 0.0), totals.get(name, 0.0)
            )
            for name in classes
        ]
        return tuple(sorted(rows, key=lambda row: (-(row.seen_at or 0.0), row.error_class)))


class Board:
    """The daemons that are watched, and what they have done since the first round."""

    def __init__(self, group: str = "") -> None:
        """Begin without daemons.

        Args:
            group: the consumer group, where it is known.
        """
        self._group = group
        self._watched: dict[str, WatchedDaemon] = {}
        self._partitions = PartitionOwners()
        self._last_errors = LastErrors()
        self._speeds: deque[float] = deque(maxlen=_MAX_POINTS)
        self._lags: deque[tuple[float, float]] = deque(maxlen=_MAX_POINTS)

    def update(self, round_: Round, at: float, wall: float) -> Figures:
        """Take a round of answers, and return the figures.

        Args:
            round_: the answers, and the addresses that are asked.
            at: monotonic seconds, as the answers have them.
            wall: seconds since 1970.
        """
        self._watched = {name: self._watched.get(name) or WatchedDaemon(name) for name in round_.expected}
        for answer in round_.answers:
            watched = self._watched[answer.address]
            if isinstance(answer, Answered):
                watched.take_answer(answer)
                self._last_errors.take(answer, wall)
            else:
                watched.take_silence(answer)
        away = {name for name, each in self._watched.items() if each.cause is not None}
        self._partitions.take(at, self._ownerships(), away)
        return self._figures(round_.search_error, at, wall, away)

    def _ownerships(self) -> Mapping[str, Sequence[Ownership]]:
        ownerships: defaultdict[str, list[Ownership]] = defaultdict(list)
        for watched in self._watched.values():
            for name, ownership in watched.ownerships():
                ownerships[name].append(ownership)
        return ownerships

    def _figures(self, search_error: str, at: float, wall: float, away: Collection[str]) -> Figures:
        there = [watched for watched in self._watched.values() if watched.cause is None]
        flow = Flow.together(watched.tally.flow(RATE_WINDOW_S) for watched in there)
        minute = Flow.together(watched.tally.flow(STEP_WINDOW_S) for watched in there)
        counted = added(watched.tally.sums for watched in self._watched.values())
        known = any(watched.is_paced for watched in there)
        speed = flow.rate(RECORDS) if known else None
        partitions = self._partitions.shown(at, wall, away)
        held = [partition for partition in partitions if partition.state != "gone"]
        lags = [partition.lag for partition in held if partition.lag is not None]
        lag = sum(lags) if lags else None
        self._note(at, speed, lag)
        slope = growth(lately(self._lags, at - TREND_WINDOW_S))
        # A member that is away has its last known lag, which is old.
        heading = "unknown" if any(each.state == "away" for each in held) else trend(lag, slope, speed)
        return Figures(
            at=wall,
            seconds=RATE_WINDOW_S,
            group=self._group,
            topics=tuple(sorted({partition.topic for partition in partitions})),
            causes=(*([search_error] if search_error else []), *self._causes(at)),
            records=speed,
            rows=flow.rate("runstep_insert_rows_sum") if known else None,
            lag=lag,
            lag_growth=slope,
            trend=heading,
            catch_up=lag / -slope if heading == "shrinking" and lag and slope else None,
            backlog_age=max((partition.age for partition in held if partition.age is not None), default=None),
            delay_p95=minute.quantile(0.95, "runstep_ingest_delay_seconds"),
            members=tuple(row for watched in self._watched.values() for row in watched.rows(partitions)),
            partitions=partitions,
            outcomes=_outcomes(flow, counted),
            troubles=self._last_errors.shown(flow, counted),
            steps=_steps(flow, minute, counted),
            failures=_failures(flow, counted),
            speeds=tuple(self._speeds),
            lags=tuple(value for _, value in self._lags),
        )

    def _note(self, at: float, speed: float | None, lag: int | None) -> None:
        if speed is not None:
            self._speeds.append(speed)
        if lag is not None:
            self._lags.append((at, float(lag)))

    def _causes(self, at: float) -> list[str]:
        """Return what is wrong, each cause once with the members that have it."""
        whose: defaultdict[str, list[str]] = defaultdict(list)
        for name, watched in self._watched.items():
            for cause in watched.causes(at):
                whose[cause].append(name)
        if len(self._watched) <= 1:
            return list(whose)
        return [
            f"{'all members' if len(names) == len(self._watched) else ', '.join(names)}: {cause}"
            for cause, names in whose.items()
        ]


def _outcomes(flow: Flow, counted: Samples) -> tuple[OutcomeFigures, ...]:
    rows = [
        OutcomeFigures(outcome, reason, flow.rate(RECORDS, outcome=outcome, reason=reason), total)
        for outcome in grouped(counted, RECORDS, "outcome")
        for reason, total in grouped(counted, RECORDS, "reason", outcome=outcome).items()
        if total or (outcome, reason) == _ALWAYS
    ]
    lost = sum(grouped(counted, _LOST, "topic").values())
    if lost:
        rows.append(OutcomeFigures("lost", "", flow.rate(_LOST), lost))
    return tuple(sorted(rows, key=lambda row: (row.outcome != "stored", row.outcome, -row.total)))


def _steps(flow: Flow, minute: Flow, counted: Samples) -> tuple[StepFigures, ...]:
    completed = minute.by(_STEPS, "type", status=_COMPLETED)
    ended = minute.by(_STEPS, "type")
    pace = flow.by(_STEPS, "type")
    rows = [
        StepFigures(
            type=kind,
            rate=pace.get(kind, 0.0),
            success=completed.get(kind, 0.0) / ended[kind] if ended.get(kind) else None,
            p50=minute.quantile(0.5, _DURATION, type=kind),
            p95=minute.quantile(0.95, _DURATION, type=kind),
            total=total,
        )
        for kind, total in grouped(counted, _STEPS, "type").items()
        if total
    ]
    return tuple(sorted(rows, key=lambda row: -row.total))


def _failures(flow: Flow, counted: Samples) -> tuple[FailureFigures, ...]:
    pace = flow.by(_FAILURES, "error_category")
    rows = [
        FailureFigures(category, pace.get(category, 0.0), total)
        for category, total in grouped(counted, _FAILURES, "error_category").items()
        if total
    ]
    return tuple(sorted(rows, key=lambda row: -row.total))
