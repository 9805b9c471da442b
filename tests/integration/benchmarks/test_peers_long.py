"""`make bench-peers` on real servers: what takes its time."""

from collections.abc import Callable

import pytest

from tests.benchmarks.peers.__main__ import Run, parsed
from tests.benchmarks.peers.results import Results, report
from tests.benchmarks.peers.systems import SYSTEMS
from tests.benchmarks.peers.watching import Bench
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def bench(kafka_factory: Callable[..., KafkaServer], clickhouse_factory: Callable[..., ClickHouseServer]) -> Bench:
    return Bench(kafka_factory(), clickhouse_factory(), stall=60.0)


def measured(bench: Bench, arguments: str) -> Results:
    run = Run(bench, parsed(arguments.split()))
    run.measure()
    return run.results


def test_every_system_has_a_rate_and_a_delay(bench: Bench, tmp_path) -> None:
    kept = tmp_path / "results.json"
    small = "--topics odd --events 30000 --rounds 1 --load 600 --load-seconds 3"
    results = measured(bench, f"--parts rates latency {small} --json {kept}")
    assert [rate.void for rate in results.rates] == [""] * len(SYSTEMS)
    assert [delay.void for delay in results.delays] == [""] * len(SYSTEMS)
    assert {rate.system for rate in results.rates} == {delay.system for delay in results.delays} == set(SYSTEMS)
    assert Results.read(kept) == results
    assert report(results).count("| 1 of 1 |") == len(SYSTEMS)


def test_the_daemon_loses_nothing_and_doubles_nothing_where_the_engine_stands_still(bench: Bench) -> None:
    small = "--fault-rate 600 --fault-seconds 12 --outage 8 --stall 60"
    results = measured(bench, f"--parts faults --systems runstep-1 engine {small}")
    daemon = [loss for loss in results.losses if loss.system == "runstep-1"]
    assert [(loss.lost, loss.waiting, loss.doubled) for loss in daemon] == [(0, 0, 0)] * 3
    assert daemon[0].became == "rejected, with an account"
    stuck = next(loss for loss in results.losses if (loss.system, loss.fault) == ("engine", "poison"))
    assert stuck.waiting > 0
    assert stuck.became == "read again and again"
