"""`make bench-peers` on real servers: what takes its time."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.benchmarks.peers import environments
from tests.benchmarks.peers.__main__ import Run, parsed
from tests.benchmarks.peers.faults import FAULTS
from tests.benchmarks.peers.results import Results, report
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


def test_a_system_of_each_kind_has_a_rate_and_a_delay(bench: Bench, tmp_path) -> None:
    """The process of this project, the tables in the server, and the frameworks in environments of their own."""
    kept, names = tmp_path / "results.json", ["runstep-2", "engine", *environments.REQUIREMENTS]
    small = "--topics plain --events 9000 --rounds 1 --load 600 --load-seconds 3"
    results = measured(bench, f"--parts rates latency {small} --json {kept} --systems {' '.join(names)}")
    assert {rate.system: rate.void for rate in results.rates} == dict.fromkeys(names, "")
    assert {delay.system: delay.void for delay in results.delays} == dict.fromkeys(names, "")
    assert Results.read(kept) == results
    assert report(results).count("| 1 of 1 |") == len(names)


def test_the_daemon_loses_nothing_and_doubles_nothing(bench: Bench) -> None:
    small = "--fault-rate 600 --fault-seconds 12 --outage 8"
    losses = measured(bench, f"--parts faults --systems runstep-1 {small}").losses
    assert [(loss.fault, loss.lost, loss.waiting, loss.doubled) for loss in losses] == [
        (fault, 0, 0, 0) for fault in FAULTS
    ]
    assert losses[0].became == "rejected, with an account"


def test_a_poison_record_stops_the_engine_as_it_is_and_not_the_one_that_checks(bench: Bench) -> None:
    small = "--fault-rate 600 --fault-seconds 12 --faults poison"
    losses = measured(replace(bench, stall=20.0), f"--parts faults --systems engine engine-same-work {small}").losses
    assert [loss.became for loss in losses] == ["read again and again", "rejected, with an account"]
    assert losses[0].waiting > 0
    assert (losses[1].lost, losses[1].waiting) == (0, 0)
