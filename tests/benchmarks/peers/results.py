"""What was measured: kept as JSON, reduced to medians, shown as tables."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.peers.faults import FAULTS, Loss
from tests.benchmarks.peers.latency import Delay
from tests.benchmarks.peers.rates import Rate
from tests.benchmarks.peers.systems import NOT_MEASURED, TITLES
from tests.documents.tables import table

RECORDED: Final = Path(__file__).with_name("results.json")
"""The results that the page shows: those of a quiet machine."""
YARDSTICK: Final = "engine"
NOTHING: Final = "–"  # noqa: RUF001 - the sign for what was not measured
_RATE_HEAD: Final = (
    "system", "rounds", "steady events/s", "from the complete group on", "from the start on", "against the engine",
    "CPU µs/event: client + server + broker", "peak MiB: largest process, server",
)  # fmt: skip


@dataclass
class Results:
    """All that one run has measured, and under which conditions."""

    conditions: dict[str, str] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=lambda: dict(NOT_MEASURED))

    def save(self, path: Path) -> None:
        """Write the results as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            kept["conditions"],
            [Rate(**rate) for rate in kept["rates"]],
            [Delay(**delay) for delay in kept["delays"]],
            [Loss(**loss) for loss in kept["losses"]],
            kept["not_measured"],
        )


def block() -> str:
    """Return the results that are recorded, for the page."""
    if not RECORDED.exists():
        return "No results are recorded yet: a quiet machine has to measure them."
    return report(Results.read(RECORDED))


def report(results: Results) -> str:
    """Return all tables, as Markdown."""
    parts = [", ".join(f"{name} {value}" for name, value in results.conditions.items())]
    for topic in dict.fromkeys(rate.topic for rate in results.rates):
        mine = [rate for rate in results.rates if rate.topic == topic]
        parts.append(f"Backlog of {mine[0].events:,} events, topic `{topic}`, medians:\n\n{rate_table(mine)}")
        parts.extend(f"* round {rate.round} of {TITLES[rate.system]}: {rate.void}" for rate in mine if rate.void)
    if results.delays:
        parts.append(f"From the producer to a query, at a steady load:\n\n{delay_table(results.delays)}")
    if results.losses:
        parts.append(f"Faults under a steady load:\n\n{loss_table(results.losses)}")
    parts.append("Not measured:\n\n" + "\n".join(f"* {name}: {why}" for name, why in results.not_measured.items()))
    return "\n\n".join(part for part in parts if part)


def rate_table(rates: Sequence[Rate]) -> str:
    """Return the medians of each system, over the rounds that count."""
    return table(_RATE_HEAD, [_rate_line(name, rates) for name in dict.fromkeys(rate.system for rate in rates)])


def _rate_line(name: str, rates: Sequence[Rate]) -> Sequence[str]:
    every = [rate for rate in rates if rate.system == name]
    good = [rate for rate in every if not rate.void]
    costs = (_median(good, lambda rate: rate.client_cpu), _median(good, lambda rate: rate.server_cpu))
    memory = (_median(good, lambda rate: rate.client_mib), _median(good, lambda rate: rate.server_mib))
    return (
        TITLES[name],
        f"{len(good)} of {len(every)}",
        _number(_median(good, lambda rate: rate.steady)),
        _number(_median(good, lambda rate: rate.reading)),
        _number(_median(good, lambda rate: rate.whole)),
        _number(ratio(good, [rate for rate in rates if rate.system == YARDSTICK and not rate.void]), 2),
        " + ".join(_number(cost, 1) for cost in (*costs, _median(good, lambda rate: rate.broker_cpu))),
        ", ".join(_number(size) for size in memory),
    )


def ratio(mine: Iterable[Rate], others: Iterable[Rate]) -> float | None:
    """Return the median of the ratios of two systems, round by round, from the complete group on."""
    theirs = {rate.round: rate.reading for rate in others if rate.reading}
    pairs = [rate.reading / theirs[rate.round] for rate in mine if rate.reading and rate.round in theirs]
    return statistics.median(pairs) if pairs else None


def delay_table(delays: Sequence[Delay]) -> str:
    """Return how long an event takes until it can be queried."""
    lines = [
        (TITLES[one.system], _number(one.rate), one.void or _number(one.p50, 2), _number(one.p99, 2)) for one in delays
    ]
    return table(("system", "events/s", "p50, s", "p99, s"), lines)


def loss_table(losses: Sequence[Loss]) -> str:
    """Return what each fault has cost each system."""
    found = {(loss.system, loss.fault): loss for loss in losses}
    systems = dict.fromkeys(loss.system for loss in losses)
    lines = [(TITLES[name], *(loss_cell(found.get((name, fault))) for fault in FAULTS)) for name in systems]
    return table(("system", "one poison record", "an outage of ClickHouse", "`kill -9`"), lines)


def loss_cell(loss: Loss | None) -> str:
    """Return in words what a fault has cost."""
    if loss is None:
        return NOTHING
    words = [f"{loss.lost:,} lost, {loss.doubled:,} doubled"]
    words.append(f"**{loss.waiting:,} held back for good**" if loss.waiting else f"stood for {loss.stood:.1f} s")
    if loss.became:
        words.append(f"the record: {loss.became}")
    if loss.restarts:
        words.append(f"{loss.restarts} restarts")
    return "; ".join(words)


def half_of(rates: Sequence[Rate], name: str, most: float) -> float:
    """Return half of the rate at which a system reads, at most `most`; `most` where it was not measured."""
    reading = _median([rate for rate in rates if rate.system == name and not rate.void], lambda rate: rate.reading)
    return min(most, reading / 2) if reading else most


def _median(rates: Iterable[Rate], figure: Callable[[Rate], float | None]) -> float | None:
    found = [value for value in map(figure, rates) if value is not None]
    return statistics.median(found) if found else None


def _number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"
