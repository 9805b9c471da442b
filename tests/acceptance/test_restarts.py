"""Clean ends: what a restart under load may cost (nothing), and how a drain goes when it cannot end well."""

import signal
import time
from itertools import islice
from typing import Any

import pytest

from pipeline.commands._exit_codes import INTERRUPTED
from tests.support.daemon import HTTP_UNAVAILABLE, running_daemon
from tests.support.oracle import (
    Load,
    Truth,
    committed,
    drained,
    place,
    repeating,
    status,
    summed,
    traffic,
    until,
    wait_until_counted,
)

QUICK: dict[str, Any] = {"batch__max_rows": 1_000, "http__final_scrape": 20}


def test_three_restarts_under_load_lose_and_double_nothing_and_count_every_step_once(kafka, clickhouse):
    with place(kafka, clickhouse) as there, Load(there, repeating(traffic(31), 31), rate=2_000) as load:
        with running_daemon(*there, **QUICK) as daemon:
            last = []
            for _ in range(3):
                load.go_on(4_000)
                last.append(drained(daemon))
                daemon.start()
            load.go_on(4_000)
            load.stop()
            daemon.wait_until_accounted()
            last.append(drained(daemon))

        truth = Truth(there, load.produced)
        truth.check_tables(written_once=True)
        truth.check_dead_letters(sent_once=True)
        assert truth.difference(summed(last)) == ""
        assert all(summed([text]) for text in last), "each of the processes was to count something"


@pytest.mark.chaos
def test_members_that_come_and_go_lose_and_double_nothing_and_count_every_step_once(kafka, clickhouse):
    """Partitions change hands in the middle of batches: what the old owner has not committed, the new one counts."""
    with place(kafka, clickhouse) as there, Load(there, repeating(traffic(34), 34), rate=1_500) as load:
        with running_daemon(*there, **QUICK) as one, running_daemon(*there, **QUICK) as other:
            last = []
            for leaving in (other, one, other):
                load.go_on(2_000)
                last.append(drained(leaving))
                load.go_on(1_000)
                leaving.start()
            load.go_on(2_000)
            load.stop()
            one.wait_until_accounted()
            last += [drained(one), drained(other)]

        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed(last)) == ""


def test_a_drain_while_clickhouse_is_away_ends_in_time_and_commits_nothing_unwritten(kafka, clickhouse_factory):
    server = clickhouse_factory()
    with place(kafka, server.address) as there, running_daemon(*there, drain_timeout=3, **QUICK) as daemon:
        stream = traffic(32)
        with Load(there, islice(stream, 500)) as before:
            before.finish()
        wait_until_counted(daemon, 500)
        stored = committed(there, daemon.group)

        server.kill()
        with Load(there, islice(stream, 3_000)) as after:
            after.finish()
        until(
            lambda: status(daemon)["buffer"]["writing"] and daemon.get("/readyz")[0] == HTTP_UNAVAILABLE,
            "nothing is read",
        )
        asked = time.monotonic()
        last = [drained(daemon)]
        assert time.monotonic() - asked < 3 + 15
        assert committed(there, daemon.group) == stored

        server.start()
        daemon.start()
        daemon.wait_until_accounted()
        last.append(drained(daemon))
        truth = Truth(there, before.produced + after.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed(last)) == ""


def test_a_second_signal_ends_a_drain_at_once_and_the_rest_is_read_again(kafka, clickhouse_factory):
    server = clickhouse_factory()
    with place(kafka, server.address) as there, running_daemon(*there, drain_timeout=120, **QUICK) as daemon:
        server.kill()
        with Load(there, islice(traffic(33), 500)) as load:
            load.finish()
        until(lambda: status(daemon)["buffer"]["writing"], "nothing is read")
        daemon.send(signal.SIGTERM)
        until(lambda: status(daemon)["state"] == "draining", "the first signal is not obeyed")
        daemon.send(signal.SIGTERM)
        assert daemon.wait_until_ended() == INTERRUPTED
        assert committed(there, daemon.group) == {}

        server.start()
        daemon.start()
        daemon.wait_until_accounted()
        last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last])) == ""
