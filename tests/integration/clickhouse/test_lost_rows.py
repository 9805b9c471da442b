"""A server that is killed between an insert's token and its rows: it says OK to the repetition, and the rows are gone.

What the kill leaves is made here on disk, exactly: the token stays in the table's log, the part is taken away.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from pipeline.clickhouse import ClickHouseSink
from pipeline.errors import ErrorClass
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.faulty_proxy import Exchange, Fault, FaultyProxy, Refuses, resets
from tests.support.sink_setup import ROWS, build, counts, failing, settings_for, visible

TARGETS = ("run_steps", "run_step_ledger")


@contextmanager
def writing(server: ClickHouseServer) -> Iterator[tuple[ClickHouseSink, FaultyProxy]]:
    settings = settings_for(server.address)
    build(settings)
    with FaultyProxy(server.address) as proxy:
        behind = settings.model_copy(update={"url": SecretStr(proxy.url)})
        with closing(ClickHouseSink(lambda: behind)) as sink:
            yield sink, proxy


def lose(server: ClickHouseServer, table: str) -> None:
    """Kill the server as if it had not come to the table's rows, and start it again."""
    parts = server.query(f"SELECT path FROM system.parts WHERE table = '{table}' AND active").split()  # noqa: S608 - a test's own
    server.kill()
    for part in parts:
        shutil.rmtree(Path(part))
    server.start()


def killed_over(server: ClickHouseServer, *tables: str) -> Fault:
    """Cut the insert off: the server has its token and, of these tables, not its rows."""

    def fault(exchange: Exchange) -> None:
        exchange.forward()
        for table in tables:
            lose(server, table)
        exchange.hang_up(reset=True)

    return fault


@pytest.mark.parametrize("tables", [("run_steps",), ("run_step_ledger",), TARGETS], ids=" and ".join)
def test_rows_that_went_with_the_server_are_sent_again(
    clickhouse_factory: Callable[..., ClickHouseServer], tables: tuple[str, ...]
) -> None:
    server = clickhouse_factory()
    with writing(server) as (sink, proxy), capture_logs() as logs:
        sink.probe()
        # The driver itself repeats the first, and says nothing of it.
        with proxy.faulty(killed_over(server, *tables), times=1):
            sink.insert(ROWS, "token")
        assert visible(server.address) == (10, 10)
    assert [line["event"] for line in logs].count("insert_repeated") == 1


def test_rows_are_sent_again_after_a_failure_too(clickhouse_factory: Callable[..., ClickHouseServer]) -> None:
    server = clickhouse_factory()
    with writing(server) as (sink, proxy):
        sink.probe()
        with proxy.faulty(killed_over(server, "run_steps"), times=2):
            assert failing(sink).error_class is ErrorClass.AMBIGUOUS
        # Refused before it begins: no doubt of its own, and the earlier one stays.
        with proxy.faulty(Refuses(500, 202, "Too many simultaneous queries"), times=1):
            assert failing(sink).error_class is ErrorClass.TRANSIENT
        sink.insert(ROWS, "token")
        assert visible(server.address) == (10, 10)


def test_a_server_that_lived_is_believed(clickhouse: ClickHouseAddress, database: str) -> None:
    settings = settings_for(clickhouse, database)
    build(settings)
    with FaultyProxy(clickhouse) as proxy, capture_logs() as logs:
        behind = settings.model_copy(update={"url": SecretStr(proxy.url)})
        with closing(ClickHouseSink(lambda: behind)) as sink:
            with proxy.faulty(resets, times=2):
                assert failing(sink).error_class is ErrorClass.AMBIGUOUS
            sink.insert(ROWS, "token")
    assert counts(clickhouse, database) == (10, 10), "nothing is doubled, not even on disk"
    assert "insert_repeated" not in [line["event"] for line in logs]
