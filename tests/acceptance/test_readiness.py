"""/readyz names what is missing while it is missing, and the pipeline continues by itself afterwards."""

from itertools import islice
from typing import Any

import pytest
from kafka.admin import NewTopic

from tests.support.daemon import Daemon, migrate, running_daemon
from tests.support.oracle import Load, Place, Truth, committed, drained, place, status, summed, traffic, until

QUICK: dict[str, Any] = {
    "batch__max_rows": 500,
    "retry__max_delay": 1,
    "http__final_scrape": 20,
    "kafka__metadata_max_age": 1,
}
READY = 200
AVAILABLE = {"kafka": "runstep_source_available", "clickhouse": "runstep_sink_available"}
SOON = 30.0
"""Seconds within which an outage must be named."""


@pytest.mark.parametrize("away", [pytest.param("clickhouse", marks=pytest.mark.chaos), "kafka"])
def test_an_idle_daemon_tells_which_service_is_away_and_when_it_is_back(kafka_factory, clickhouse_factory, away):
    servers = {"kafka": kafka_factory(), "clickhouse": clickhouse_factory()}
    names = {"kafka": "Kafka", "clickhouse": servers["clickhouse"].url}
    with (
        place(servers["kafka"].address, servers["clickhouse"].address) as there,
        running_daemon(*there, **QUICK) as daemon,
    ):
        servers[away].kill()
        daemon.wait_until_unready(names[away])
        # /readyz looks when it is asked, the gauge is set with the loop's next turn.
        until(lambda: available(daemon) == {which: which != away for which in AVAILABLE}, daemon.log, SOON)
        until(lambda: has_lag(daemon) == (away != "kafka"), daemon.log, SOON)
        assert daemon.get("/healthz")[0] == READY, "a service that is away is no reason to restart the daemon"
        servers[away].start()
        daemon.wait_until_ready()
        check_delivery(there, daemon, 51)


def available(daemon) -> dict[str, bool]:
    """Return which of the services the metrics call available."""
    return {which: daemon.metrics()[gauge, frozenset()] == 1 for which, gauge in AVAILABLE.items()}


@pytest.mark.chaos
def test_a_daemon_that_is_started_before_everything_else_waits_and_then_works(kafka_factory, clickhouse_factory):
    broker, server = kafka_factory(), clickhouse_factory()
    with place(broker.address, server.address, tables=False) as there:
        broker.kill()
        server.kill()
        with running_daemon(*there, wait=False, **QUICK, kafka__bootstrap_timeout=2) as daemon:
            daemon.wait_until_unready(server.url)
            daemon.wait_until_unready(broker.bootstrap)
            server.start()
            daemon.wait_until_unready("run_step_ingest is missing; run `runstep migrate`")
            broker.start()
            migrate(*there)
            daemon.wait_until_ready()
            check_delivery(there, daemon, 52)


def test_a_missing_dead_letter_topic_stops_the_pipeline_until_it_is_there(kafka, kafka_admin, clickhouse):
    with place(kafka, clickhouse) as there:
        dead_letters = f"{there.topic}.dlq"
        kafka_admin.delete_topics([dead_letters])
        until(lambda: dead_letters not in kafka_admin.list_topics(), "the topic is still there")
        with running_daemon(*there, **QUICK, dead_letter__delivery_timeout=2) as daemon:
            stream = traffic(53)
            clean = [event for event in islice(stream, 300) if event.kind != "poison"]
            with Load(there, clean) as load:
                load.finish()
            daemon.wait_until_accounted()
            before = committed(there, daemon.group)

            poisoned = [*islice((event for event in stream if event.kind == "poison"), 3), *islice(stream, 1_500)]
            with Load(there, poisoned) as load:
                load.finish()
            daemon.wait_until_unready(dead_letters)
            assert status(daemon)["sink"]["available"] is True, "ClickHouse is well"
            assert daemon.metrics()["runstep_sink_available", frozenset()] == 1
            reached = committed(there, daemon.group)
            kafka_admin.create_topics([NewTopic(dead_letters, 1, 1)])
            daemon.wait_until_ready()
            daemon.wait_until_accounted()
            last = drained(daemon)

        truth = Truth(there, clean + poisoned)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last])) == ""
        assert reached == before


@pytest.mark.parametrize(
    ("fault", "fix"),
    [
        ("RENAME TABLE {t} TO {t}_away", "RENAME TABLE {t}_away TO {t}"),
        # The insert fails when the steps have their rows and the ledger has none: doing the same again completes both.
        ("ALTER TABLE {t} ADD CONSTRAINT c CHECK throwIf(1) = 0", "ALTER TABLE {t} DROP CONSTRAINT c"),
    ],
    ids=["missing", "failing after the steps"],
)
def test_a_ledger_that_takes_nothing_for_a_while_is_complete_afterwards(kafka, clickhouse, fault, fix):
    with place(kafka, clickhouse) as there, running_daemon(*there, **QUICK) as daemon:
        ledger = f"{there.database}.run_step_ledger"
        # What was written twice is to be seen, not merged.
        clickhouse.query(f"SYSTEM STOP MERGES {there.database}.run_steps")
        with Load(there, traffic(54), rate=1_000) as load:
            load.go_on(1_000)
            clickhouse.query(fault.format(t=ledger))
            daemon.wait_until_unready("run_step_ledger")
            load.go_on(1_000)
            clickhouse.query(fix.format(t=ledger))
            daemon.wait_until_ready()
            load.stop()
        daemon.wait_until_accounted()
        last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables(written_once=True)
        truth.check_dead_letters(sent_once=True)
        assert truth.difference(summed([last])) == ""


def test_partitions_that_are_added_are_read_however_short_the_polls_are(kafka, kafka_admin, clickhouse):
    """A join that outlasts the poll it began in used to be forgotten, and with it the member and all its partitions."""
    short = {"kafka__poll_timeout": 0.002, "kafka__metadata_max_age": 0.5}
    with place(kafka, clickhouse) as there, running_daemon(*there, **{**QUICK, **short}) as daemon:
        kafka_admin.create_partitions({there.topic: 8})
        until(lambda: len(status(daemon)["partitions"]) == 8, lambda: f"{daemon.get('/status')}\n{daemon.log()}", SOON)
        check_delivery(there, daemon, 55)


def check_delivery(there: Place, daemon: Daemon, seed: int) -> None:
    """Produce a little, end the daemon, and compare everything with the model."""
    with Load(there, islice(traffic(seed), 1_000)) as load:
        load.finish()
    daemon.wait_until_accounted()
    last = drained(daemon)
    truth = Truth(there, load.produced)
    truth.check_tables()
    truth.check_dead_letters()
    assert truth.difference(summed([last])) == ""


def has_lag(daemon: Daemon) -> bool:
    """Return whether a lag is shown for any partition."""
    return any(name == "runstep_consumer_lag_records" for name, _ in daemon.metrics())
