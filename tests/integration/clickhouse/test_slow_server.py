"""A ClickHouse that is slow but works: whatever it is asked on the way to an insert, /healthz calls no thread stalled.

Every request to the real server is made to last as long as it may, on a clock that only the requests move.
"""

from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clickhouse_connect.driver._backend.http_sync import HttpSyncBackend
from prometheus_client import CollectorRegistry

from pipeline.clickhouse import ClickHouseSink
from pipeline.clickhouse.deduplication import TARGETS
from pipeline.config import ClickHouseSettings, Settings
from pipeline.daemon.app import MAX_QUERIES_PER_PROBE, _watched
from pipeline.daemon.attempts import FAILURES_BEFORE_PROBE, Attempts, RetryPolicy
from pipeline.daemon.watchdog import Watchdog
from pipeline.errors import SinkUnavailable
from pipeline.metrics import Metrics
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.clock import FakeClock
from tests.support.sink_setup import ROWS, build, counts, settings_for


class Slow:
    """Requests that last `insert_timeout` each, and what a watchdog says at the end of each."""

    def __init__(self, settings: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.seconds = settings.insert_timeout
        self.requests = 0
        self.causes: list[str] = []
        monkeypatch.setattr("pipeline.clickhouse.sink.monotonic", self.clock.monotonic)
        self.sink = ClickHouseSink(lambda: settings)
        attempts = SimpleNamespace(last_heartbeat=self.clock.monotonic())
        self.writer = SimpleNamespace(attempts=attempts, failure=None)
        everything = Settings(clickhouse=settings)
        loop: Any = SimpleNamespace(last_heartbeat=float("inf"))
        self.watchdog = Watchdog(self.clock, _watched(loop, cast(Any, self.writer), self.sink, everything))
        # The driver's one way to a server.
        self._request = HttpSyncBackend.request

        def request(client: HttpSyncBackend, *given: Any, **named: Any) -> Any:
            return self.wait(client, *given, **named)

        monkeypatch.setattr(HttpSyncBackend, "request", request)

    def wait(self, client: HttpSyncBackend, *given: Any, **named: Any) -> Any:
        self.requests += 1
        answer = self._request(client, *given, **named)
        self.clock.advance(self.seconds)
        cause = self.watchdog.cause()
        if cause:
            self.causes.append(cause)
        return answer


@pytest.fixture
def slow(clickhouse: ClickHouseAddress, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    settings = settings_for(clickhouse, database)
    build(settings)
    made = Slow(settings, monkeypatch)
    with closing(made.sink):
        yield made


def test_one_attempt_of_many_slow_questions_is_no_writer_that_hangs(
    clickhouse: ClickHouseAddress, database: str, slow: Slow
) -> None:
    attempts = Attempts(slow.sink, Metrics(CollectorRegistry(), (1.0,)), slow.clock, RetryPolicy())
    attempts.failures_in_a_row = FAILURES_BEFORE_PROBE
    attempts.insert(ROWS, "token")
    assert slow.requests > 2 * MAX_QUERIES_PER_PROBE, "it was one attempt, and many questions"
    assert slow.causes == []
    assert counts(clickhouse, database) == (10, 10)


def test_a_writer_that_asks_nothing_any_more_is_named(slow: Slow) -> None:
    slow.sink.probe()
    longest = 60 + 15 + 10 + MAX_QUERIES_PER_PROBE * 60  # stalled_after, max_delay, connect_timeout, insert_timeout
    slow.clock.advance(slow.sink.last_heartbeat + longest - slow.clock.monotonic())
    assert slow.watchdog.cause() is None
    slow.clock.advance(1)
    assert "the writer has made no progress" in str(slow.watchdog.cause())


def test_no_more_questions_come_in_one_go_than_are_waited_for(
    clickhouse: ClickHouseAddress, database: str, slow: Slow
) -> None:
    """Neither those of the driver, which connects, nor the sink's about tables that say nothing of a window."""
    for table in TARGETS:
        clickhouse.query(f"ALTER TABLE `{database}`.{table} RESET SETTING non_replicated_deduplication_window")
    before = -1.0
    in_a_row, most = 0, 0

    def count(client: HttpSyncBackend, *given: Any, **named: Any) -> Any:
        nonlocal before, in_a_row, most
        in_a_row = in_a_row + 1 if slow.sink.last_heartbeat == before else 1
        before, most = slow.sink.last_heartbeat, max(most, in_a_row)
        slow.clock.advance(1)
        return original(client, *given, **named)

    original, slow.wait = slow._request, count  # type: ignore[method-assign]
    with pytest.raises(SinkUnavailable, match="sent twice"):
        slow.sink.probe()
    assert most == MAX_QUERIES_PER_PROBE
