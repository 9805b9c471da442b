"""What the tests of the sink on real servers share: settings, tables, ten rows, a look at what lies where."""

from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink, connect
from pipeline.clickhouse.migrations import migrate
from pipeline.config import ClickHouseSettings
from pipeline.errors import SinkUnavailable
from schemas.row import Row
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.rows import columns_of, step_row

ROWS = columns_of([step_row(offset) for offset in range(10)])


def settings_for(server: ClickHouseAddress, database: str = "runsteps", **changes: Any) -> ClickHouseSettings:
    return ClickHouseSettings(url=SecretStr(server.url), database=database, **changes)


def build(settings: ClickHouseSettings) -> None:
    client = connect(settings)
    migrate(client, settings)
    client.close()


def fill(settings: ClickHouseSettings, rows: list[Row]) -> None:
    """Make the tables and insert the rows, as the daemon does."""
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.insert(columns_of(rows), "token")
    sink.close()


def counts(server: ClickHouseAddress, database: str = "runsteps") -> tuple[int, int]:
    """Rows that lie in run_steps and in the ledger, doubles included."""
    return _counts(server, database, "")


def visible(server: ClickHouseAddress, database: str = "runsteps") -> tuple[int, int]:
    """Rows that are seen in run_steps and in the ledger, one a key."""
    return _counts(server, database, "FINAL")


def _counts(server: ClickHouseAddress, database: str, final: str) -> tuple[int, int]:
    steps, ledger = (
        server.query(f"SELECT count() FROM `{database}`.{table} {final}")  # noqa: S608 - a test's own
        for table in ("run_steps", "run_step_ledger")
    )
    return int(steps), int(ledger)


def failing(sink: ClickHouseSink, columns: list[list[Any]] = ROWS) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as caught:
        sink.insert(columns, "token")
    return caught.value
