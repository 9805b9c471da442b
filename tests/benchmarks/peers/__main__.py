"""`make bench-peers`: the daemon beside other ways to bring the same topic into the same ClickHouse.

Measures in turns, on the same servers and cores: how fast a backlog is read and what that costs (rates), how long an
event takes to a query at half of that rate (latency), and what a poison record, an outage of ClickHouse and a kill cost
(faults). A round counts only if every row is there at its end. Compare figures of one run only, on a machine that does
nothing else.
"""

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.peers import environments, faults, latency, rates, traffic
from tests.benchmarks.peers.gauges import idle_cpu
from tests.benchmarks.peers.results import RECORDED, Results, half_of, report
from tests.benchmarks.peers.systems import SYSTEMS, Place, System
from tests.benchmarks.peers.watching import SAMPLE_S, Account, Bench
from tests.servers.cache import ServerUnavailable
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.kafka_image import FULL_SPEED
from tests.support.paths import ROOT

PARTS = ("rates", "latency", "faults")
MIXES = {mix.name: mix for mix in (traffic.PLAIN, traffic.ODD)}
WARM_UP_SHARE = 10
"""The warm-up reads a tenth of the events."""


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    options = argparse.ArgumentParser(
        prog="make bench-peers ARGS=...",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=f"For the page: --parts {' '.join(PARTS)} --json {RECORDED.relative_to(ROOT)}, then `make docs`.",
    )
    add = options.add_argument
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME", help=", ".join(SYSTEMS))
    add("--parts", nargs="+", choices=PARTS, default=["rates"], help="what is measured")
    add("--topics", nargs="+", choices=MIXES, default=list(MIXES), help="plain, or with odd records and failed steps")
    add("--events", type=int, default=300_000, help="events of a backlog; fewer than 200,000 say little of a rate")
    add("--rounds", type=int, default=3, help="rounds of each backlog, in turns")
    add("--load", type=float, default=5_000, help="latency: most events a second, where half of the rate is more")
    add("--load-seconds", type=float, default=20, help="latency: seconds of the load that count")
    add("--faults", nargs="+", choices=faults.FAULTS, default=list(faults.FAULTS), help="faults: which of them")
    add("--fault-rate", type=float, default=2_000, help="faults: events a second")
    add("--fault-seconds", type=float, default=15, help="faults: seconds of the load, beside those of an outage")
    add("--outage", type=float, default=20, help="faults: seconds without ClickHouse")
    add("--stall", type=float, default=90, help="seconds without a new row after which a system is given up")
    add("--json", type=Path, help="a file for the results; it is written after each measurement")
    return options.parse_args(words)


class Run:
    """One run of the benchmark: its servers, its arguments, its results so far."""

    def __init__(self, bench: Bench, given: argparse.Namespace) -> None:
        self.bench, self.given = bench, given
        self.results = Results(conditions(given))
        self.names = [name for name in given.systems if self._can_run(name)]

    def measure(self) -> None:
        """Measure what was asked for."""
        # The rates come first: the load of the latency is half of them.
        for part, measure in zip(PARTS, (self.read_backlogs, self.look_at_delays, self.do_harm), strict=True):
            if part in self.given.parts:
                measure()

    def read_backlogs(self) -> None:
        """Read backlogs in turns, after a short one that warms up."""
        warm_up = self.given.events // WARM_UP_SHARE
        self._fill("warm_up", traffic.PLAIN, warm_up)
        for name in self.names:
            self._backlog(name, "warm_up", warm_up, 0)
        for topic in self.given.topics:
            self._fill(topic, MIXES[topic], self.given.events)
            for round_ in range(1, self.given.rounds + 1):
                for name in self.names[round_ % len(self.names) :] + self.names[: round_ % len(self.names)]:
                    self.results.rates.append(self._backlog(name, topic, self.given.events, round_))
                    self._save()

    def look_at_delays(self) -> None:
        """Put half of what each can do on it."""
        for name in self.names:
            rate = half_of(self.results.rates, name, self.given.load)
            system = self._on_empty_topic(name, "latency")
            found = latency.at_load(name, system, self.bench, rate, self.given.load_seconds)
            self._say(
                f"latency of {name} at {rate:,.0f} events/s: {found.void or f'{found.p50:.2f}, {found.p99:.2f} s'}"
            )
            self.results.delays.append(found)
            self._save()

    def do_harm(self) -> None:
        """Do each of them the same harm."""
        force = faults.Force(self.given.fault_rate, self.given.fault_seconds, self.given.outage)
        for fault in self.given.faults:
            for name in self.names:
                found = faults.trial(name, fault, self._on_empty_topic(name, fault), self.bench, force)
                self._say(
                    f"{fault}, {name}: {found.lost:,} lost, {found.doubled:,} doubled, {found.waiting:,} held back, "
                    f"stood for {found.stood:.1f} s, {found.restarts} restarts {found.became}"
                )
                self.results.losses.append(found)
                self._save()

    def _backlog(self, name: str, topic: str, events: int, round_: int) -> rates.Rate:
        system = SYSTEMS[name](self._place(topic, f"{name}_{topic}_{round_}"))
        expected = Account(events, 0, events // traffic.EVENTS_A_STEP)
        found = rates.backlog(name, round_, system, self.bench, expected)
        self._say(f"{topic}, round {round_}, {name}: {found.void or f'{found.reading:,.0f} events/s'}")
        return found

    def _on_empty_topic(self, name: str, part: str) -> System:
        topic = f"{part}_{name}".replace("-", "_")
        traffic.create_topics(self.bench.kafka.bootstrap, topic, f"{topic}.dlq")
        return SYSTEMS[name](self._place(topic, topic))

    def _place(self, topic: str, database: str) -> Place:
        return Place(self.bench.kafka.bootstrap, self.bench.server, topic, database.replace("-", "_"))

    def _fill(self, topic: str, mix: traffic.Mix, events: int) -> None:
        size = traffic.fill(self.bench.kafka.bootstrap, topic, mix, events)
        self._say(f"topic {topic}: {events:,} events of {size / events:.0f} B")

    def _can_run(self, name: str) -> bool:
        try:
            if name in environments.REQUIREMENTS:
                environments.python(name)
        except ServerUnavailable as error:
            self.results.not_measured[name] = str(error)
            return False
        return True

    def _save(self) -> None:
        if self.given.json:
            self.results.save(self.given.json)

    def _say(self, text: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def conditions(given: argparse.Namespace) -> dict[str, str]:
    """Return under which conditions a run measures."""
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": str(os.cpu_count()),
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "rounds": str(given.rounds),
        "partitions": str(traffic.PARTITIONS),
    }


def main() -> None:
    """Measure and print."""
    given = parsed()
    given.events -= given.events % (traffic.EVENTS_A_STEP * WARM_UP_SHARE)
    with KafkaServer(java_options=FULL_SPEED) as kafka, ClickHouseServer() as server:
        began = time.monotonic()
        run = Run(Bench(kafka, server, given.stall, *idle_cpu(server, kafka, SAMPLE_S)), given)
        run.measure()
        print(report(run.results))
        print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
