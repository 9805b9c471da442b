"""An outage of ClickHouse that outlasts every time-out of Kafka: the group is kept, and memory stays as it was."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.tools.simulation import SimulatedEvent
from tests.servers.addresses import KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.daemon import Daemon, running_daemon
from tests.support.oracle import Load, Truth, drained, place, status, summed, traffic, until

MAX_POLL_INTERVAL = 3.0
OUTAGE = 3.5 * MAX_POLL_INTERVAL
SETTLED = 4.0
"""Seconds after which everything is held that is going to be held."""
MAX_ROWS = 500
MEGABYTE = 1 << 20
LARGE = 5_000
MORE_MEMORY = 20 * MEGABYTE
"""What the rest of an outage may take in addition: half of what is produced meanwhile, or less."""

SHORT_TIMEOUTS: dict[str, Any] = {
    "kafka__max_poll_interval": MAX_POLL_INTERVAL,
    "kafka__session_timeout": MAX_POLL_INTERVAL,
    "kafka__heartbeat_interval": 0.5,
    "kafka__fetch_max_bytes": MEGABYTE,
    "kafka__max_partition_fetch_bytes": MEGABYTE // 4,
    "clickhouse__insert_timeout": 2,
    "clickhouse__connect_timeout": 2,
    "batch__max_rows": MAX_ROWS,
    "retry__max_delay": 1,
    "http__final_scrape": 20,
}


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("begin", "end"),
    [(ClickHouseServer.kill, ClickHouseServer.start), (ClickHouseServer.pause, ClickHouseServer.resume)],
    ids=["killed", "frozen"],
)
def test_an_outage_that_outlasts_max_poll_interval_costs_no_partition_and_no_memory(
    kafka: KafkaAddress,
    clickhouse_factory: Callable[..., ClickHouseServer],
    begin: Callable[[ClickHouseServer], None],
    end: Callable[[ClickHouseServer], None],
) -> None:
    server = clickhouse_factory()
    with (
        place(kafka, server.address) as there,
        Load(there, large(traffic(73, page_ratio=0.0)), rate=1_500) as load,
        running_daemon(*there, **SHORT_TIMEOUTS) as daemon,
    ):
        load.go_on(3_000)
        before = rebalances(daemon)
        begin(server)
        until(lambda: status(daemon)["sink"]["available"] is False, daemon.log)
        time.sleep(SETTLED)
        settled, over, produced = memory(daemon), time.monotonic() + OUTAGE - SETTLED, len(load.produced)
        enough = produced + 2 * MORE_MEMORY // LARGE
        most = buffered(daemon, lambda: time.monotonic() > over and len(load.produced) > enough)
        grown = memory(daemon) - settled
        assert rebalances(daemon) == before
        end(server)
        daemon.wait_until_ready()
        assert rebalances(daemon) == before
        load.stop()
        daemon.wait_until_accounted(120)
        last = drained(daemon)

        assert before["assigned"] == 4
        assert most <= 2 * MAX_ROWS
        assert grown < MORE_MEMORY
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last])) == ""


def large(stream: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
    """Yield the events that are stored, with so many blanks behind them that they are large; they mean the same."""
    for event in stream:
        if event.outcome == "stored" and event.value is not None:
            yield event._replace(value=event.value.ljust(LARGE))


def memory(daemon: Daemon) -> int:
    """Return the bytes of memory that the process has now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{daemon.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def rebalances(daemon: Daemon) -> dict[str, float]:
    """Return how many partitions came and went so far."""
    samples = daemon.metrics()
    kinds = ("assigned", "revoked", "lost")
    return {kind: samples["runstep_rebalances_total", frozenset({("kind", kind)})] for kind in kinds}


def buffered(daemon: Daemon, over: Callable[[], bool]) -> float:
    """Look at the buffer until it is over, and return the most rows that were in it."""
    seen = [0.0]

    def look() -> bool:
        seen.append(daemon.metrics()["runstep_buffer_rows", frozenset()])
        return over()

    until(look, daemon.log)
    return max(seen)
