"""What the tests of the tables share: a database, and what the migrations and the sink do to it."""

from collections.abc import Sequence
from typing import Any

from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink
from pipeline.clickhouse.migrations import Client, check_schema, migrate, status
from pipeline.config import ClickHouseSettings
from schemas.ddl import Migration
from schemas.row import INGEST_COLUMNS, Row
from tests.support.fakes.rows import columns_of


class Store:
    """A database: what the migrations and the sink do to it, and what is in it."""

    def __init__(self, client: Client, settings: ClickHouseSettings) -> None:
        self.client = client
        self.settings = settings
        self.database = settings.database

    def migrate(self, migrations: Sequence[Migration] | None = None, **days: int) -> list[str]:
        settings = self.settings.model_copy(update=days)
        return [applied.source for applied in migrate(self.client, settings, migrations)]

    def states(self, migrations: Sequence[Migration] | None = None) -> list[str]:
        return [one.state for one in status(self.client, self.settings, migrations)]

    def insert(self, rows: Sequence[Row], token: str) -> None:
        sink = ClickHouseSink(lambda: self.settings)
        try:
            sink.insert(columns_of(rows), token)
        finally:
            sink.close()

    def insert_as_before(self, rows: Sequence[Row]) -> None:
        """Insert as a daemon of the version before does, which does not know `is_superseded`."""
        known = [(name, get_from_name(kind)) for name, kind in INGEST_COLUMNS if name != "is_superseded"]
        names, types = zip(*known, strict=True)
        context = InsertContext(f"{self.database}.run_step_ingest", names, types, column_oriented=True)
        driver: Any = self.client
        driver.insert(data=columns_of(rows)[: len(names)], context=context)

    def run(self, sql: str) -> None:
        self.client.command(sql.replace("@", f"{self.database}."), use_database=False)

    def rows(self, sql: str) -> list[Any]:
        return list(self.client.query(sql.replace("@", f"{self.database}.")).result_rows)

    def counts(self) -> tuple[int, int]:
        """Return the physical rows of the steps and of the ledger."""
        ((steps, ledger),) = self.rows(
            "SELECT (SELECT count() FROM @run_steps), (SELECT count() FROM @run_step_ledger)"
        )
        return steps, ledger

    def findings(self) -> list[str]:
        return check_schema(self.client, self.database)


def server_settings(url: str, database: str) -> ClickHouseSettings:
    return ClickHouseSettings(url=SecretStr(url), database=database)
