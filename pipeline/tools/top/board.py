"""Makes figures of what the daemons say, round by round. Pure: it is given the time, and does no IO."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pipeline.tools.top import figures
from pipeline.tools.top.counters import Flow, Samples, added, grouped
from pipeline.tools.top.figures import Figures
from pipeline.tools.top.member import MINUTE, RECORDS, Watched
from pipeline.tools.top.partition_owners import PACE, TREND, Claim, Partitions, growth, lately, trend
from pipeline.tools.top.sampling import Heard, Round
from pipeline.tools.top.troubles import Troubles

_MOST_POINTS: Final = 600
_LOST: Final = "runstep_records_lost_total"
_STEPS: Final = "runstep_steps_total"
_DURATION: Final = "runstep_step_duration_seconds"
_FAILURES: Final = "runstep_step_failures_total"
_COMPLETED: Final = "completed"
_ALWAYS: Final = ("stored", "")


class Board:
    """The members that are watched, and what they have done since."""

    def __init__(self, group: str = "") -> None:
        """Begin with nobody.

        Args:
            group: the consumer group, where it is known.
        """
        self._group = group
        self._watched: dict[str, Watched] = {}
        self._partitions = Partitions()
        self._troubles = Troubles()
        self._speeds: deque[float] = deque(maxlen=_MOST_POINTS)
        self._lags: deque[tuple[float, float]] = deque(maxlen=_MOST_POINTS)

    def update(self, round_: Round, at: float, wall: float) -> Figures:
        """Take a round of answers, and return what they come to.

        Args:
            round_: the answers, and whom to expect.
            at: monotonic seconds, as the answers have them.
            wall: seconds since 1970.
        """
        self._watched = {name: self._watched.get(name) or Watched(name) for name in round_.expected}
        for answer in round_.answers:
            watched = self._watched[answer.address]
            if isinstance(answer, Heard):
                watched.hear(answer)
                self._troubles.take(answer, wall)
            else:
                watched.miss(answer)
        away = {name for name, each in self._watched.items() if each.cause is not None}
        self._partitions.take(at, self._claims(), away)
        return self._figures(round_.trouble, at, wall, away)

    def _claims(self) -> Mapping[str, Sequence[Claim]]:
        claims: defaultdict[str, list[Claim]] = defaultdict(list)
        for watched in self._watched.values():
            for name, claim in watched.claims():
                claims[name].append(claim)
        return claims

    def _figures(self, trouble: str, at: float, wall: float, away: Collection[str]) -> Figures:
        there = [watched for watched in self._watched.values() if watched.cause is None]
        flow = Flow.together(watched.tally.flow(PACE) for watched in there)
        minute = Flow.together(watched.tally.flow(MINUTE) for watched in there)
        counted = added(watched.tally.sums for watched in self._watched.values())
        known = any(watched.is_paced for watched in there)
        speed = flow.rate(RECORDS) if known else None
        partitions = self._partitions.shown(at, wall, away)
        held = [partition for partition in partitions if partition.state != "gone"]
        lags = [partition.lag for partition in held if partition.lag is not None]
        lag = sum(lags) if lags else None
        self._note(at, speed, lag)
        slope = growth(lately(self._lags, at - TREND))
        # The lag of who is away is that of some time ago.
        heading = "unknown" if any(each.state == "away" for each in held) else trend(lag, slope, speed)
        return Figures(
            at=wall,
            seconds=PACE,
            group=self._group,
            topics=tuple(sorted({partition.topic for partition in partitions})),
            causes=(*([trouble] if trouble else []), *self._causes(at)),
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
            troubles=self._troubles.shown(flow, counted),
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
        """Return what is wrong, and with whom: one that several have is told once."""
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


def _outcomes(flow: Flow, counted: Samples) -> tuple[figures.Outcome, ...]:
    rows = [
        figures.Outcome(outcome, reason, flow.rate(RECORDS, outcome=outcome, reason=reason), total)
        for outcome in grouped(counted, RECORDS, "outcome")
        for reason, total in grouped(counted, RECORDS, "reason", outcome=outcome).items()
        if total or (outcome, reason) == _ALWAYS
    ]
    lost = sum(grouped(counted, _LOST, "topic").values())
    if lost:
        rows.append(figures.Outcome("lost", "", flow.rate(_LOST), lost))
    return tuple(sorted(rows, key=lambda row: (row.outcome != "stored", row.outcome, -row.total)))


def _steps(flow: Flow, minute: Flow, counted: Samples) -> tuple[figures.Steps, ...]:
    completed = minute.by(_STEPS, "type", status=_COMPLETED)
    ended = minute.by(_STEPS, "type")
    pace = flow.by(_STEPS, "type")
    rows = [
        figures.Steps(
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


def _failures(flow: Flow, counted: Samples) -> tuple[figures.Failure, ...]:
    pace = flow.by(_FAILURES, "error_category")
    rows = [
        figures.Failure(category, pace.get(category, 0.0), total)
        for category, total in grouped(counted, _FAILURES, "error_category").items()
        if total
    ]
    return tuple(sorted(rows, key=lambda row: -row.total))
