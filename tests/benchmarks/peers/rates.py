"""A backlog, read to its last row: events a second, and the CPU and memory that they cost on every side."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.peers.gauges import cpu_seconds, forget_peak, peak_mib, wait_for_rest
from tests.benchmarks.peers.systems import System
from tests.benchmarks.peers.watching import (
    Account,
    Bench,
    Sample,
    Stalled,
    account,
    at_work,
    wait_until_joined,
    watch,
)

STEADY_UNTIL: Final = 0.95
"""The share of the rows at which the steady stretch ends: the last batch waits for its age."""


@dataclass(frozen=True)
class Rate:
    """One round of one system. `void` says why its figures do not count."""

    system: str
    topic: str
    round: int
    events: int
    restarts: int = 0
    void: str = ""
    steady: float | None = None
    """Events a second between the first visible rows and 95 % of them; None where they came at once."""
    reading: float | None = None
    """Events a second from the moment when the group was complete to the last row."""
    whole: float | None = None
    """Events a second from the start of the processes to the last row."""
    client_cpu: float | None = None
    server_cpu: float | None = None
    broker_cpu: float | None = None
    """CPU microseconds an event; the client's without its start, the server's with all merges and without what it
    costs idle."""
    client_mib: float | None = None
    server_mib: float | None = None
    """Peaks of memory; of several processes the largest one's."""


def backlog(name: str, round_: int, system: System, bench: Bench, expected: Account) -> Rate:
    """Let a system read a topic that was filled before, and check that all is there."""
    server, kafka, events = bench.server, bench.kafka, expected.offsets
    wait_for_rest(server)
    forget_peak(server.process.pid)
    with at_work(system):
        began, server_before = time.monotonic(), cpu_seconds([server.process.pid])
        wait_until_joined(system, kafka)
        joined_at, client_before = time.monotonic(), cpu_seconds(system.pids())
        broker_before = cpu_seconds([kafka.process.pid])
        try:
            samples = watch(system, events, bench.stall)
            ended_at = _wait_until_all(system, expected, bench.stall)
        except Stalled as stalled:
            return Rate(name, system.place.topic, round_, events, system.restarts, str(stalled))
        pids = system.pids()
        client, client_mib = cpu_seconds(pids) - client_before, peak_mib(pids)
        broker = cpu_seconds([kafka.process.pid]) - broker_before - bench.idle_broker * (time.monotonic() - joined_at)
        wait_for_rest(server)
        cost = cpu_seconds([server.process.pid]) - server_before - bench.idle_server * (time.monotonic() - began)
        return Rate(
            name,
            system.place.topic,
            round_,
            events,
            system.restarts,
            steady=steady_rate(samples, events),
            reading=events / (ended_at - joined_at),
            whole=events / (ended_at - began),
            client_cpu=client / events * 1e6,
            server_cpu=max(cost, 0.0) / events * 1e6,
            broker_cpu=max(broker, 0.0) / events * 1e6,
            client_mib=client_mib,
            server_mib=peak_mib([server.process.pid]),
        )


def steady_rate(samples: Sequence[Sample], events: int) -> float | None:
    """Return the rate from the first visible rows to the first sample that has 95 % of all."""
    first = next((sample for sample in samples if sample.rows), None)
    late = next((sample for sample in samples if sample.rows >= STEADY_UNTIL * events), None)
    if first is None or late is None or late.at <= first.at:
        return None
    return (late.rows - first.rows) / (late.at - first.at)


def _wait_until_all(system: System, expected: Account, stall: float) -> float:
    """Return when every row was there; the tables of a system may commit one after the other."""
    until = time.monotonic() + stall
    while True:
        now = time.monotonic()
        if account(system) == expected:
            return now
        if now > until:
            raise Stalled(f"other rows than {expected}")
        time.sleep(0.05)
