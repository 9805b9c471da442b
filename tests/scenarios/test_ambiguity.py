"""Crashes, and answers that do not arrive: whatever was stored before, a retry changes nothing."""

from typing import Any

import pytest

from tests.support.faulty_proxy import Exchange, FaultyProxy, closes, does_nothing, never_confirms, resets
from tests.support.oracle import committed, until
from tests.support.scenario import scenario

ONE_MEMBER: dict[str, Any] = {"kafka__group_instance_id": "one"}
"""The next process of a static member has its partitions at once."""


@pytest.fixture
def proxy(clickhouse):
    with FaultyProxy(clickhouse) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", [never_confirms, does_nothing], ids=["stored", "not stored"])
@pytest.mark.chaos
def test_09_10_kills_between_an_insert_and_its_commit_or_before_it(kafka, clickhouse, proxy, fault):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, **ONE_MEMBER) as s:
        for _ in range(4):
            s.load.go_on(700)
            with proxy.faulty(fault):
                until(lambda: proxy.met > 0, s.daemon.log)
                if fault is never_confirms:
                    until(lambda: rows_beyond(s) > 0, s.daemon.log)
                s.kill(s.daemon)
            s.daemon.start()
        s.judge()


@pytest.mark.parametrize("fault", [resets, pytest.param(closes, marks=pytest.mark.chaos)])
def test_11_an_answer_that_is_cut_off_doubles_nothing_not_even_on_disk(kafka, clickhouse, proxy, fault):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.sql("SYSTEM STOP MERGES {db}.run_steps")
        s.sql("SYSTEM STOP MERGES {db}.run_step_ledger")
        with proxy.faulty(fault, share=0.6):
            until(lambda: proxy.met >= 6, s.daemon.log)
        s.judge(written_once=True)


@pytest.mark.chaos
def test_12_an_answer_that_never_comes_doubles_nothing(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, clickhouse__insert_timeout=1) as s:
        s.sql("SYSTEM STOP MERGES {db}.run_steps")
        s.sql("SYSTEM STOP MERGES {db}.run_step_ledger")
        s.load.go_on(500)
        with proxy.faulty(never_confirms, times=2):
            s.wait_until_unready("did not answer in time")
            until(lambda: proxy.met == 2, s.daemon.log)
            s.wait_until_ready()
        s.judge(written_once=True)


@pytest.mark.chaos
def test_13_a_repetition_while_the_first_try_still_runs_waits_for_it(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.load.go_on(500)
        s.sql("CREATE TABLE {db}.nowhere (n UInt8) ENGINE = Null")
        # An insert takes a second or two with it. Not more rows than 1,400: a block may sleep for three seconds.
        s.sql(
            "CREATE MATERIALIZED VIEW {db}.slow TO {db}.nowhere AS "
            "SELECT sleepEachRow(0.004) AS n FROM {db}.run_step_ingest"
        )
        with proxy.faulty(is_impatient, times=1):
            s.wait_until_unready("216")
        s.sql("DROP VIEW {db}.slow")
        s.wait_until_ready()
        s.judge(written_once=True)


def is_impatient(exchange: Exchange) -> None:
    """Have the server begin, and end the connection: the driver sends the same query again at once."""
    exchange.hang_up(reset=False)
    exchange.forward()


def rows_beyond(s) -> int:
    """Return how many offsets the ledger has beyond what is committed."""
    known = int(s.sql("SELECT uniqExact(kafka_partition, kafka_offset) FROM {db}.run_step_ledger"))
    return known - sum(committed(s.there, s.daemon.group).values())
