"""The retention: settings in days, TTLs in the tables. Pure; a TTL that runstep has not set is never touched."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeline.clickhouse.migrations.session import Statement, TableSchema
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError
from schemas.ddl import Layout
from schemas.row import INGEST_COLUMNS

SOURCE: Final = "retention"
"""What the statements are from, in the place of a file."""

_TYPES: Final = {column.name: column.type for column in INGEST_COLUMNS}


class _Lifetime(NamedTuple):
    """How long a table's rows, or a column's values, are kept, counted from the time in `since`."""

    table: str
    column: str | None
    since: str
    setting: str
    days: int


def changes(made: Mapping[str, TableSchema], layout: Layout, settings: ClickHouseSettings) -> list[Statement]:
    """Return the ALTERs that bring the TTLs to the settings; none where they are so already.

    Setting a TTL rewrites parts of the table, so it is not done again for nothing.

    Raises:
        ConfigError: a retention is set, and there is a TTL already that runstep has not set.
    """
    days, details = settings.retention_days, settings.details_retention_days
    lifetimes = (
        _Lifetime("run_steps", None, "created_at", "retention_days", days),
        # By the time of reading: the account of a backfill of old steps has to outlive the backfill.
        _Lifetime("run_step_ledger", None, "ingested_at", "retention_days", days),
        _Lifetime("run_steps", "step_details", "created_at", "details_retention_days", details),
        _Lifetime("run_steps", "extra_fields", "created_at", "details_retention_days", details),
    )
    statements = (_change(wanted, made.get(layout.local(wanted.table)), layout) for wanted in lifetimes)
    return [Statement(SOURCE, sql) for sql in statements if sql]


def _change(wanted: _Lifetime, table: TableSchema | None, layout: Layout) -> str | None:
    now = _ttl(wanted, table) if table else ""
    own = re.fullmatch(rf"toDateTime\({wanted.since}\) \+ toIntervalDay\((\d+)\)", now)
    if wanted.days == (int(own[1]) if own else 0):
        return None
    name = f"{layout.database}.{layout.local(wanted.table)}"
    if now and not own:
        raise ConfigError(
            f"{name} has a TTL that runstep has not set ({now}): remove it, or set clickhouse.{wanted.setting} to 0"
        )
    # toDateTime: servers before 25 take no TTL on a DateTime64.
    ttl = f"TTL toDateTime({wanted.since}) + toIntervalDay({wanted.days})"
    alter = f"ALTER TABLE {name}{layout.clause}"
    if wanted.column is None:
        return f"{alter} MODIFY {ttl}" if wanted.days else f"{alter} REMOVE TTL"
    # With its type: servers before 26.7 take no TTL of a column without it.
    change = f"{_TYPES[wanted.column]} {ttl}" if wanted.days else "REMOVE TTL"
    return f"{alter} MODIFY COLUMN {wanted.column} {change}"


def _ttl(wanted: _Lifetime, table: TableSchema) -> str:
    """Return the TTL as the server writes it, '' for none."""
    if wanted.column is None:
        found = re.search(r" TTL (.*?)(?: SETTINGS |$)", table.engine_full)
    else:
        found = re.search(rf"`{wanted.column}` [^`]*? TTL (.*?)(?:, `|, INDEX |\) ENGINE )", table.made_by)
    return found[1] if found else ""
