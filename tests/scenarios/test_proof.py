"""An OK is believed with proof only, and what does not get through is sent in smaller inserts."""

import threading
from itertools import islice
from typing import Any

import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.support.daemon import migrate
from tests.support.faulty_proxy import Claims, Exchange, Fault, FaultyProxy, passes
from tests.support.oracle import status, traffic, until
from tests.support.outside_view import MEGABYTE
from tests.support.scenario import Scenario, scenario

BOTH = ("run_steps_mv", "run_step_ledger_mv")
EXCEPTION = "Code: 241. DB::Exception: Memory limit exceeded"
LARGE_BATCHES: dict[str, Any] = {
    "batch__max_rows": 3_000,
    "batch__max_age": 2,
    "clickhouse__compression": "none",
    "retry__first_delay": 0.05,
    "retry__max_delay": 0.5,
}
LARGE = 300 * MEGABYTE
"""What two batches of that size may take."""
CARRIED = 400_000
"""Bytes of a request, where an insert of a whole batch has some million."""


@pytest.fixture
def proxy(clickhouse):
    with FaultyProxy(clickhouse) as proxy:
        yield proxy


def drop(s: Scenario, views: tuple[str, ...]) -> None:
    for view in views:
        s.sql(f"DROP VIEW {{db}}.{view} SYNC")


@pytest.mark.parametrize(
    "views",
    [
        BOTH,
        pytest.param(BOTH[:1], marks=pytest.mark.chaos),
        pytest.param(BOTH[1:], marks=pytest.mark.chaos),
    ],
    ids=["both", "steps", "ledger"],
)
def test_76_a_view_that_is_dropped_under_load_loses_nothing(kafka, clickhouse, views):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(1_000)
        drop(s, views)
        s.wait_until_unready(f"{views[0]} is missing")
        s.load.go_on(1_000)
        migrate(*s.there)
        s.wait_until_ready()
        s.load.go_on(500)
        s.judge()


@pytest.mark.chaos
def test_76_a_view_that_is_missing_before_the_start_loses_nothing(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(500)
        s.drain(s.daemon)
        drop(s, BOTH)
        s.load.go_on(1_000)
        s.daemon.start(wait=False)
        s.wait_until_unready("run_steps_mv is missing")
        migrate(*s.there)
        s.wait_until_ready()
        s.load.go_on(500)
        s.judge()


@pytest.mark.parametrize(
    "claim",
    [
        Claims(EXCEPTION, 1_000_000),
        pytest.param(Claims(EXCEPTION, 1_000_000, is_done=True), marks=pytest.mark.chaos),
        pytest.param(Claims(written_rows=0), marks=pytest.mark.chaos),
        pytest.param(Claims(written_rows=0, is_done=True), marks=pytest.mark.chaos),
        pytest.param(Claims("back soon"), marks=pytest.mark.chaos),
    ],
    ids=["exception", "exception, written", "no rows", "no rows, written", "page"],
)
def test_77_an_ok_that_is_false_is_not_believed(kafka, clickhouse, proxy, claim):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.load.go_on(500)
        with proxy.faulty(claim, share=0.6):
            until(lambda: proxy.met >= 6, s.daemon.log)
        s.judge()


def test_78_a_way_that_resets_long_requests_gets_short_ones(kafka, clickhouse, proxy):
    with large_inserts(kafka, clickhouse, proxy) as s:
        proxy.most_bytes = CARRIED
        s.load.finish()
        until(lambda: sink(s)["most_rows"] is not None, s.daemon.log)
        assert "although small queries pass" in sink(s)["most_rows_cause"]
        s.daemon.wait_until_accounted()
        assert s.metric("runstep_insert_splits_total", error_class="ambiguous") > 0
        assert '"event": "insert_split"' in s.daemon.log(10_000)
        s.judge(more_memory=LARGE)


@pytest.mark.chaos
def test_78_larger_inserts_are_tried_again_and_pass_once_the_way_carries_them(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, rate=6_000, clickhouse__url=proxy.url, **LARGE_BATCHES) as s:
        proxy.most_bytes = CARRIED
        until(lambda: sink(s)["most_rows"] is not None, s.daemon.log)
        s.wait_until_ready()
        proxy.most_bytes = float("inf")
        until(lambda: (sink(s)["most_rows"] or 3_000) >= 3_000, s.daemon.log)
        s.judge(more_memory=LARGE)


@pytest.mark.chaos
def test_78_a_way_too_slow_for_the_time_out_gets_what_it_can_carry_in_time(kafka, clickhouse, proxy):
    with large_inserts(kafka, clickhouse, proxy, clickhouse__insert_timeout=2) as s:
        proxy.bytes_per_second = CARRIED
        s.load.finish()
        until(lambda: sink(s)["most_rows"] is not None, s.daemon.log)
        assert "did not answer in time" in sink(s)["most_rows_cause"]
        s.judge(more_memory=LARGE)


@pytest.mark.chaos
def test_78_a_server_that_a_batch_kills_gets_smaller_ones(kafka, clickhouse_factory):
    server = clickhouse_factory()
    with FaultyProxy(server.address) as proxy, large_inserts(kafka, server.address, proxy) as s:
        with proxy.faulty(dies_of(server, CARRIED)):
            s.load.finish()
            until(lambda: sink(s)["most_rows"] is not None, s.daemon.log)
            s.daemon.wait_until_accounted()
        s.judge(more_memory=LARGE)


def large_inserts(kafka, clickhouse, proxy: FaultyProxy, **settings: Any):
    """Give a scenario of a few batches that are much larger than what is carried."""
    events = islice(traffic(78), 6_000)
    return scenario(kafka, clickhouse, events=events, rate=0, clickhouse__url=proxy.url, **LARGE_BATCHES, **settings)


def dies_of(server: ClickHouseServer, most_bytes: int) -> Fault:
    """Return what kills the server at each insert that is longer, and starts it again."""
    one_at_a_time = threading.Lock()

    def fault(exchange: Exchange) -> None:
        if len(exchange.body) <= most_bytes:
            passes(exchange)
            return
        with one_at_a_time:
            server.kill()
            exchange.hang_up(reset=True)
            server.start()

    return fault


def sink(s: Scenario) -> dict[str, Any]:
    """Return what /status says of ClickHouse."""
    found: dict[str, Any] = status(s.daemon)["sink"]
    return found
