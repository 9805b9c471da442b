"""A server that is slow, silent or refuses: the group is kept, and the daemon backs off."""

import time
from typing import Any

import pytest

from tests.support.faulty_proxy import Delays, FaultyProxy, Refuses, does_nothing
from tests.support.oracle import status, until
from tests.support.scenario import scenario

MAX_POLL_INTERVAL = 3


@pytest.fixture
def proxy(clickhouse):
    with FaultyProxy(clickhouse) as proxy:
        yield proxy


@pytest.mark.chaos
def test_31_an_insert_that_takes_twice_the_longest_poll_interval_costs_no_partition(kafka, clickhouse, proxy):
    slow: dict[str, Any] = {
        "kafka__max_poll_interval": MAX_POLL_INTERVAL,
        "kafka__session_timeout": MAX_POLL_INTERVAL,
        "clickhouse__insert_timeout": MAX_POLL_INTERVAL - 1,
        "clickhouse__connect_timeout": 1,
    }
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, **slow) as s:
        s.load.go_on(500)
        before = rebalances(s)
        # Each insert takes longer than the interval, and is given up before: four times, then it passes.
        with proxy.faulty(Delays(2 * MAX_POLL_INTERVAL), times=4):
            s.wait_until_unready("did not answer in time")
            until(lambda: proxy.met == 4, s.daemon.log)
            s.wait_until_ready()
        assert rebalances(s) == before
        s.judge(written_once=True)


@pytest.mark.chaos
def test_32_a_server_that_takes_connections_and_never_answers(kafka, clickhouse, proxy):
    short: dict[str, Any] = {
        "clickhouse__insert_timeout": 1,
        "clickhouse__connect_timeout": 1,
        "retry__first_delay": 0.05,
    }
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, **short) as s:
        s.load.go_on(500)
        with proxy.faulty(does_nothing, everything=True):
            s.wait_until_unready("did not answer in time")
            until(lambda: sink(s)["breaker"] == "open", s.daemon.log)
            s.load.go_on(500)
        s.wait_until_ready()
        assert sink(s)["breaker"] == "closed"
        s.judge(written_once=True)


@pytest.mark.chaos
def test_33_now_and_then_a_500(kafka, clickhouse, proxy):
    small: dict[str, Any] = {"batch__max_rows": 50, "batch__max_age": 0.05}
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, rate=300, **small) as s:
        with proxy.faulty(Refuses(500, text="internal error"), share=0.1):
            until(lambda: proxy.met >= 5, s.daemon.log)
        s.judge(written_once=True)


@pytest.mark.parametrize(
    "fault",
    [
        Refuses(500, 202, "Too many simultaneous queries"),
        Refuses(500, 203, "No free connection"),
        Refuses(429),
        Refuses(503),
    ],
    ids=["202", "203", "429", "503"],
)
@pytest.mark.chaos
def test_34_overload_is_answered_by_patience(kafka, clickhouse, proxy, fault):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.load.go_on(500)
        with proxy.faulty(fault):
            s.wait_until_unready(str(fault.code or fault.status))
            until(lambda: sink(s)["breaker"] != "closed", s.daemon.log)
            began, tries = time.monotonic(), proxy.met
            s.load.go_on(3_000)
            # From a quarter of a second on, waits double up to the longest; each is at least half as long.
            assert proxy.met - tries <= 2 + (time.monotonic() - began) / 0.4
        s.wait_until_ready()
        s.judge(written_once=True)


@pytest.mark.chaos
def test_38_an_open_breaker_lets_one_small_question_through_and_no_batch(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, rate=1_500) as s:
        s.load.go_on(500)
        with proxy.faulty(Refuses(503), everything=True):
            until(lambda: sink(s)["breaker"] == "open", s.daemon.log)
            began, inserts, questions = time.monotonic(), proxy.inserts, proxy.questions
            s.load.go_on(3_000)
            assert proxy.inserts == inserts, "a batch was sent to a server that fails every probe"
            asked = proxy.questions - questions
            assert 0 < asked <= 2 + (time.monotonic() - began) / 0.4
        s.wait_until_ready()
        s.judge(written_once=True)


def sink(s):
    """Return what /status says of ClickHouse."""
    return status(s.daemon)["sink"]


def rebalances(s) -> list[float]:
    """Return how many partitions came and went so far."""
    return [s.metric("runstep_rebalances_total", kind=kind) for kind in ("assigned", "revoked", "lost")]
