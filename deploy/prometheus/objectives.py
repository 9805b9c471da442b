"""The two objectives, the rules that record how well they are met, and the alerts on how fast their budgets burn.

Owns the arithmetic of the SRE workbook, chapter 5: an alert fires if a share of the budget of 30 days is spent within
a long window, and a short window shows that the fault continues. Share and window give the burn-rate factor; factor
and objective give the share of failures at which the alert fires. A share of 100 % or more can never occur, so such a
factor is lowered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from deploy.prometheus.rules import JOB, Alert, Record, Rule, Severity

PERIOD_DAYS: Final = 30
MIN_FAILURES: Final = 10
"""Failures in the long window below which no alert fires: at night two of five steps may fail."""
MAX_FAILURE_SHARE: Final = Decimal("0.9")
"""No alert waits for a larger share of failures; a total failure must fire it."""
HISTORY: Final = 86_400
"""Seconds. A record older than this when stored is history that is read again, not a late record."""
_SHORT: Final = 12
_SECONDS: Final = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200}


class Pair(NamedTuple):
    """Two windows that must both burn: the long one shows that it matters, the short one that it continues."""

    severity: Severity
    budget: Decimal
    long: str
    short: str

    @property
    def factor(self) -> Decimal:
        """The burn rate at which the share of the budget is spent within the long window."""
        return self.budget * PERIOD_DAYS * 86_400 / _SECONDS[self.long]


SEVERITIES: Final[tuple[Severity, ...]] = ("page", "ticket")
PAIRS: Final = (
    Pair("page", Decimal("0.02"), "1h", "5m"),
    Pair("page", Decimal("0.05"), "6h", "30m"),
    Pair("ticket", Decimal("0.10"), "1d", "2h"),
    Pair("ticket", Decimal("0.10"), "3d", "6h"),
)


@dataclass(frozen=True)
class Objective:
    """An objective: the share of the events that has to be good.

    Attributes:
        slo: the label of its series.
        target: above 0, below 1.
        failures: PromQL for the rate of bad events over `[WINDOW]`.
        events: PromQL for the rate of all events.
    """

    slo: str
    target: Decimal
    failures: str
    events: str

    @property
    def budget(self) -> Decimal:
        """The share that may be bad."""
        return 1 - self.target

    def factor(self, pair: Pair) -> Decimal:
        """Return the factor of a pair of windows, lowered where it could never be reached."""
        return min(pair.factor, MAX_FAILURE_SHARE / self.budget)

    def lowered(self) -> Iterator[str]:
        """Yield a line for each factor that had to be lowered."""
        for pair in PAIRS:
            factor = self.factor(pair)
            if factor < pair.factor:
                asked, most = pair.factor * self.budget * 100, MAX_FAILURE_SHARE * 100
                share = pair.budget * factor / pair.factor * 100
                yield (
                    f"{self.slo}: to burn {number(pair.factor)} times too fast over {pair.long}, {number(asked)} % of "
                    f"the events would have to fail. The factor is lowered to {number(factor)}: {number(most)} % "
                    f"failures, {number(share)} % of the budget of {PERIOD_DAYS} days in {pair.long}"
                )

    def records(self) -> Iterator[Record]:
        """Yield the recording rules that dashboards and alerts read, named as Sloth names them."""
        labels = {"slo": self.slo}
        constant = {"slo": self.slo, "job": JOB}
        own = f'{{slo="{self.slo}", JOB}}'
        events = self.events.replace("WINDOW", "5m")
        yield Record("slo:sli_events:rate5m", events, labels=labels)
        for window in _SECONDS:
            failures = self.failures.replace("WINDOW", window)
            events = self.events.replace("WINDOW", window)
            yield Record(f"slo:sli_failures:rate{window}", failures, labels=labels)
            ratio = f"slo:sli_failures:rate{window}{own}\n/ on (job) (\n{_indented(events)}\n  > 0\n)"
            yield Record(f"slo:sli_error:ratio_rate{window}", ratio, labels=labels)
        yield Record(
            f"slo:sli_error:ratio_rate{PERIOD_DAYS}d",
            f"sum_over_time(slo:sli_failures:rate5m{own}[{PERIOD_DAYS}d])\n"
            f"/ (sum_over_time(slo:sli_events:rate5m{own}[{PERIOD_DAYS}d]) > 0)",
            "From recorded series, since 30 days of the counters are too many samples. It reaches as far back as "
            "Prometheus keeps them.",
            labels,
        )
        yield Record("slo:objective:ratio", f"vector({number(self.target)})", labels=constant)
        yield Record("slo:error_budget:ratio", f"vector({number(self.budget)})", labels=constant)
        yield Record("slo:time_period:days", f"vector({PERIOD_DAYS})", labels=constant)
        by_budget = f"/ slo:error_budget:ratio{own}"
        yield Record("slo:current_burn_rate:ratio", f"slo:sli_error:ratio_rate5m{own}\n{by_budget}", labels=labels)
        period = f"slo:sli_error:ratio_rate{PERIOD_DAYS}d{own}\n{by_budget}"
        yield Record("slo:period_burn_rate:ratio", period, labels=labels)
        yield Record("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{own}", labels=labels)

    def burns(self, severity: Severity) -> str:
        """Return the expression of an alert; its value is the share of failures in the long window."""
        return "\nor\n".join(f"(\n{_indented(self._burns(pair))}\n)" for pair in PAIRS if pair.severity == severity)

    def _burns(self, pair: Pair) -> str:
        own = f'{{slo="{self.slo}", JOB}}'
        limit = f"> ({number(self.factor(pair))} * {number(self.budget)})"
        return (
            f"slo:sli_error:ratio_rate{pair.long}{own} {limit}\n"
            f"and slo:sli_error:ratio_rate{pair.short}{own} {limit}\n"
            f"and slo:sli_failures:rate{pair.long}{own} * {_SECONDS[pair.long]} >= {MIN_FAILURES}"
        )

    def pace(self, severity: Severity) -> str:
        """Return a sentence: what the objective allows, and how fast the budget is spent when the alert fires."""
        shares = (
            f"{number(pair.budget * self.factor(pair) / pair.factor * 100)} % in {pair.long}"
            for pair in PAIRS
            if pair.severity == severity
        )
        return (
            f"The objective allows {number(self.budget * 100)} %. The error budget of {PERIOD_DAYS} days is spent too "
            f"fast: {' or '.join(shares)}."
        )


def number(value: Decimal) -> str:
    """Return a number as text: exact where that is short, else to six digits."""
    exact = f"{value.normalize():f}"
    return exact if len(exact) <= _SHORT else f"{float(value):.6g}"


def step_success(target: Decimal) -> Objective:
    """Return the objective of the agents' team; a cancelled step is no failure, so it does not count."""
    return Objective(
        "step_success",
        target,
        'sum by (job) (rate(runstep_steps_total{JOB, status=~"failed|expired"}[WINDOW]))',
        'sum by (job) (rate(runstep_steps_total{JOB, status=~"completed|failed|expired"}[WINDOW]))',
    )


def ingest_freshness(target: Decimal, seconds: int) -> Objective:
    """Return the objective of the pipeline's team: records can be queried within so many seconds."""
    in_time, all_of_them = (
        f'sum by (job) (rate(runstep_ingest_delay_seconds_bucket{{JOB, le="{float(bound)}"}}[WINDOW]))'
        for bound in (seconds, HISTORY)
    )
    return Objective("ingest_freshness", target, f"{all_of_them}\n- {in_time}", all_of_them)


def rules(success: Objective, freshness: Objective, seconds: int) -> Sequence[Rule]:
    """Return the rules of the two objectives."""
    return [*success.records(), *freshness.records(), *_success_alerts(success), *_freshness_alerts(freshness, seconds)]


def _success_alerts(objective: Objective) -> Iterator[Alert]:
    for severity in SEVERITIES:
        yield Alert(
            "RunStepErrorBudgetBurn",
            objective.burns(severity),
            severity,
            "{{ $value | humanizePercentage }} of the run steps fail or expire",
            f"{objective.pace(severity)} The agents, their models or their tools fail, not the pipeline.",
            team="agents",
        )


def _freshness_alerts(objective: Objective, seconds: int) -> Iterator[Alert]:
    for severity in SEVERITIES:
        yield Alert(
            "RunStepFreshnessBudgetBurn",
            objective.burns(severity),
            severity,
            f"{{{{ $value | humanizePercentage }}}} of the records take longer than {seconds} s to be queryable",
            f"{objective.pace(severity)} Records arrive late, but none is lost while Kafka retains it.",
        )


def _indented(expr: str) -> str:
    return "\n".join(f"  {line}" for line in expr.splitlines())
