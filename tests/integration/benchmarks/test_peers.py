"""`make bench-peers` on real servers, as small as it can be: a round counts if every row is there, and only then."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.benchmarks.peers import environments, rates, traffic
from tests.benchmarks.peers.systems import SYSTEMS, Place, System
from tests.benchmarks.peers.watching import Account, Bench
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer

EVENTS = 3_000
STEPS = EVENTS // traffic.EVENTS_A_STEP
OWN = [name for name in SYSTEMS if name not in environments.REQUIREMENTS]
"""Those that need no environment of their own."""


def placed(bench: Bench, name: str, database: str) -> System:
    return SYSTEMS[name](Place(bench.kafka.bootstrap, bench.server, "odd", database.replace("-", "_")))


def test_a_round_of_each_system_ends_with_every_row_and_counts_only_then(
    kafka_factory: Callable[..., KafkaServer], clickhouse_factory: Callable[..., ClickHouseServer]
) -> None:
    """All at the same time, since what they wait for overlaps; one is asked for a step that is not there."""
    bench = Bench(kafka_factory(), clickhouse_factory(), stall=60.0)
    traffic.fill(bench.kafka.bootstrap, "odd", traffic.ODD, EVENTS)
    with ThreadPoolExecutor(len(OWN) + 1) as pool:
        lacking = pool.submit(
            rates.backlog,
            "engine",
            1,
            placed(bench, "engine", "lacking"),
            replace(bench, stall=5.0),
            Account(EVENTS, 0, STEPS + 1),
        )
        rounds = list(
            pool.map(
                lambda name: rates.backlog(name, 1, placed(bench, name, name), bench, Account(EVENTS, 0, STEPS)), OWN
            )
        )
    assert {found.system: found.void for found in rounds} == dict.fromkeys(OWN, "")
    assert all(found.reading and found.whole for found in rounds)
    assert {found.system for found in rounds if found.client_cpu} == {"runstep-1", "runstep-2", "naive"}
    assert "other rows than" in lacking.result().void
    assert lacking.result().reading is None
    assert bench.server.query("SHOW DATABASES LIKE 'runstep%'") == ""
