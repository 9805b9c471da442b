"""Violent ends: of the daemon at any moment, of ClickHouse and of the broker, each of them under load."""

import random
import time
from itertools import islice
from typing import Any

import pytest

from tests.support.daemon import HTTP_OK, Daemon, running_daemon
from tests.support.model import read_samples
from tests.support.oracle import Load, Truth, drained, place, repeating, status, summed, traffic, until

SMALL: dict[str, Any] = {"batch__max_rows": 500, "retry__max_delay": 1, "http__final_scrape": 20}
SHORT: dict[str, Any] = {"kafka__session_timeout": 1.5, "kafka__heartbeat_interval": 0.3}
"""The group waits so long for a member that was killed; a member that lives may be late and lose its partitions."""


def test_ten_kills_of_the_daemon_lose_and_double_nothing_and_count_nothing_twice(kafka, clickhouse):
    moments = random.Random(41)
    with place(kafka, clickhouse) as there, Load(there, repeating(traffic(41), 41), rate=1_000) as load:
        with running_daemon(*there, **SMALL | SHORT) as daemon:
            last = []
            for number in range(10):
                if number % 2:
                    until(lambda: bool(read_samples(daemon.scrape())), "nothing is counted")
                last.append(seen_for(daemon, moments.uniform(0, 1)))
                daemon.kill()
                daemon.start()
            load.stop()
            daemon.wait_until_accounted()
            last.append(drained(daemon))

        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.excess(summed(last)) == ""
        assert sum(1 for text in last if read_samples(text)) > 5, "some of the processes were to count something"


@pytest.mark.chaos
def test_outages_of_clickhouse_and_kafka_cost_a_living_daemon_nothing(kafka_factory, clickhouse_factory):
    broker, server = kafka_factory(), clickhouse_factory()
    lengths = random.Random(42)
    with (
        place(broker.address, server.address) as there,
        Load(there, repeating(traffic(42), 42), rate=1_000) as load,
        running_daemon(*there, **SMALL) as daemon,
    ):
        process = daemon.pid
        for victim in (server, broker, server, broker, server):
            load.go_on(1_000)
            victim.kill()
            time.sleep(lengths.uniform(0.2, 1.5))
            victim.start()
        load.go_on(1_000)
        load.stop()
        daemon.wait_until_accounted()
        assert daemon.pid == process
        last = drained(daemon)

        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last])) == ""


def test_what_was_not_committed_was_not_counted(kafka_factory, clickhouse_factory):
    """The moment between insert and commit, held open: the rows are there, Kafka is away, the daemon is killed."""
    broker, server = kafka_factory(), clickhouse_factory()
    # Rejected records would have to reach Kafka before the commit is even tried.
    stream = islice(repeating(traffic(43, poison_ratio=0.0), 43), 1_000)
    # A static member's next process has its partitions at once.
    with (
        place(broker.address, server.address) as there,
        running_daemon(*there, **SMALL, kafka__group_instance_id="one") as daemon,
    ):
        server.pause()
        with Load(there, stream) as load:
            load.finish()
        until(lambda: status(daemon)["buffer"]["writing"], "no insert has begun")
        broker.kill()
        server.resume()
        until(lambda: ledger_rows(server, there.database) > 0, "nothing was inserted")
        until(lambda: commits(daemon, "deferred") > 0, "no commit was tried")
        assert read_samples(daemon.scrape()) == {}, "counted before it was committed"
        daemon.kill()

        broker.start()
        daemon.start()
        daemon.wait_until_accounted()
        last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables()
        assert truth.difference(summed([last])) == ""


def seen_for(daemon: Daemon, seconds: float) -> str:
    """Scrape ten times a second for so long, and return what was seen last."""
    end = time.monotonic() + seconds
    last = daemon.scrape()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
        code, text = daemon.get("/metrics")
        last = text if code == HTTP_OK else last
    return last


def ledger_rows(server, database: str) -> int:
    return int(server.query(f"SELECT count() FROM {database}.run_step_ledger"))  # noqa: S608 - the test's own name


def commits(daemon: Daemon, outcome: str) -> float:
    return daemon.metrics()["runstep_commits_total", frozenset({("outcome", outcome)})]
