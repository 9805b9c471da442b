"""Signals that come at bad moments, and a port that is taken: a clean end, in time, and nothing that is not written."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from itertools import islice
from typing import Any

import pytest

from pipeline.commands._exit_codes import CONFIGURATION, OK
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.daemon import HTTP_OK, Daemon, running_daemon
from tests.support.oracle import (
    Load,
    Truth,
    committed,
    drained,
    place,
    status,
    summed,
    traffic,
    until,
)

QUICK: dict[str, Any] = {"batch__max_rows": 1_000, "http__final_scrape": 20}


def test_a_signal_during_an_insert_lets_it_end_and_commits_it(
    kafka: KafkaAddress, clickhouse_factory: Callable[..., ClickHouseServer]
) -> None:
    server = clickhouse_factory()
    with place(kafka, server.address) as there, running_daemon(*there, http__final_scrape=20) as daemon:
        server.pause()
        with Load(there, islice(traffic(81), 1_500)) as load:
            load.finish()
        until(lambda: sum(positions(daemon).values()) == len(load.produced), "not everything is read")
        until(lambda: status(daemon)["buffer"]["writing"], "no insert has begun")
        daemon.send(signal.SIGTERM)
        until(lambda: status(daemon)["state"] == "draining", "the signal is not obeyed")
        server.resume()
        last = drained_from_now(daemon)
        assert "drain_timed_out" not in daemon.log(1_000)
        assert sum(committed(there, daemon.group).values()) == len(load.produced)

        daemon.start()
        daemon.wait_until_accounted()
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last, drained(daemon)])) == ""


@pytest.mark.parametrize(("away", "number"), [("refusing", signal.SIGTERM), ("frozen", signal.SIGQUIT)])
def test_a_signal_before_kafka_was_ever_reached_ends_the_daemon(
    kafka_factory: Callable[..., KafkaServer], clickhouse: ClickHouseAddress, away: str, number: signal.Signals
) -> None:
    broker = kafka_factory()
    with place(broker.address, clickhouse) as there:
        broker.kill() if away == "refusing" else broker.pause()
        with running_daemon(*there, wait=False) as daemon:
            until(lambda: "Kafka was not reached yet" in daemon.get("/readyz")[1], daemon.log)
            daemon.send(signal.SIGUSR1)
            until(lambda: '"event": "stacks_logged"' in daemon.log(1_000), daemon.log)
            daemon.send(number)
            assert daemon.wait_until_ended() == OK
            said = daemon.log(1_000)
        assert '"event": "drained"' in said
        assert "Traceback" not in said
        broker.start() if away == "refusing" else broker.resume()


def test_a_signal_at_the_very_start_ends_the_daemon_at_once(kafka: KafkaAddress, clickhouse: ClickHouseAddress) -> None:
    with place(kafka, clickhouse) as there, running_daemon(*there, wait=False) as daemon:
        daemon.send(signal.SIGTERM)
        assert daemon.wait_until_ended() == -signal.SIGTERM
        assert committed(there, daemon.group) == {}


def test_a_signal_in_the_middle_of_a_rebalance_loses_and_doubles_nothing(
    kafka: KafkaAddress, clickhouse: ClickHouseAddress
) -> None:
    with (
        place(kafka, clickhouse) as there,
        Load(there, traffic(82), rate=1_000) as load,
        running_daemon(*there, **QUICK) as staying,
        running_daemon(*there, **QUICK) as leaving,
    ):
        load.go_on(1_000)
        # The group waits for a third member, which makes all others join again, and for one that does not answer.
        staying.send(signal.SIGSTOP)
        with running_daemon(*there, wait=False) as joining:
            until(lambda: "not yet a member" in joining.get("/readyz")[1], joining.log)
            joining.send(signal.SIGTERM)
            leaving.send(signal.SIGTERM)
            assert joining.wait_until_ended() == OK
            last = [drained_from_now(leaving)]
        staying.send(signal.SIGCONT)
        load.go_on(1_000)
        load.stop()
        staying.wait_until_accounted()
        last.append(drained(staying))
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.excess(summed(last)) == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_ends_the_second_daemon_and_does_not_touch_the_first(
    kafka: KafkaAddress, clickhouse: ClickHouseAddress, workers: int
) -> None:
    with place(kafka, clickhouse) as there, running_daemon(*there) as daemon:
        until(lambda: len(status(daemon)["partitions"]) == 4, daemon.log)
        with running_daemon(*there, wait=False, workers=workers, http__bind=daemon.address) as second:
            assert second.wait_until_ended() == CONFIGURATION
            (line,) = second.log().splitlines()
        assert line.startswith(f"runstep: http.bind = '{daemon.address}': cannot listen: another process listens there")
        assert len(status(daemon)["partitions"]) == 4
        assert daemon.get("/readyz")[0] == HTTP_OK


def positions(daemon: Daemon) -> dict[str, int]:
    """Return how far each partition was read."""
    return {name: where["position"] or 0 for name, where in status(daemon)["partitions"].items()}


def drained_from_now(daemon: Daemon) -> str:
    """Return the last /metrics of a daemon that was asked to stop already; it ends cleanly."""
    last = ""
    while daemon.running:
        with suppress(HTTPException):
            code, text = daemon.get("/metrics")
            last = text if code == HTTP_OK else last
        time.sleep(0.05)
    assert daemon.wait_until_ended() == OK, daemon.log()
    return last
