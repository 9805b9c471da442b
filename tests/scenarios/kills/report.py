"""The tables of a kill run."""

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.scenarios.kills.judge import AFTER_ALL, Verdict
from tests.scenarios.kills.plan import VICTIMS

RECORDS = "runstep_records_total"


def show(verdict: Verdict, console: Console) -> None:
    """Print what was killed and what it cost, what was counted, and everything that is wrong."""
    console.print(_kills(verdict))
    console.print(_metrics(verdict))
    console.print(
        f"{verdict.inserting:,} kills met an insert or its commit on its way; "
        f"{verdict.records:,} records, {verdict.dead_letters:,} of them dead letters",
        soft_wrap=True,
    )
    for fault in verdict.faults:
        console.print(fault, style="red", markup=False, soft_wrap=True)
    console.print("FAILED" if verdict.faults else "nothing lost, nothing doubled, no counter above the truth")


def _kills(verdict: Verdict) -> Table:
    table = Table("victim", title="kill -9 under load")
    for name in ("kills", "lost", "doubled", "counted above", "below", "recovery p50", "p95", "max"):
        table.add_column(name, justify="right")
    for victim in VICTIMS:
        # A count carries no offset, so the kill behind it is unknown.
        table.add_row(victim, *_row(verdict, [victim], ("-", "-")))
    counted = verdict.metrics[RECORDS]
    error = f"{counted.above:,.0f}", f"{counted.below:,.0f}"
    table.add_row("all", *_row(verdict, [*VICTIMS, AFTER_ALL], error))
    return table


def _row(verdict: Verdict, victims: Sequence[str], error: Sequence[str]) -> list[str]:
    numbers = [strike.number for strike in verdict.strikes if strike.victim in victims]
    lost, doubled = (sum(found.get(victim, 0) for victim in victims) for found in (verdict.lost, verdict.doubled))
    seconds = sorted(verdict.seconds[number] for number in numbers if number in verdict.seconds)
    return [f"{len(numbers):,}", f"{lost:,}", f"{doubled:,}", *error, *_seconds(seconds)]


def _seconds(seconds: list[float]) -> list[str]:
    if not seconds:
        return ["-"] * 3
    late = seconds[round(0.95 * (len(seconds) - 1))]
    return [f"{value:.1f} s" for value in (statistics.median(seconds), late, seconds[-1])]


def _metrics(verdict: Verdict) -> Table:
    table = Table("metric", title="counters, added up over all lives of the daemons, beside the truth")
    for name in ("truth", "counted", "above", "below"):
        table.add_column(name, justify="right")
    for name, counted in verdict.metrics.items():
        table.add_row(name, *(f"{value:,.0f}" for value in counted))
    return table
