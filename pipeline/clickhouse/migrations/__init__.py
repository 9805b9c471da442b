"""Migrations: creates and updates the tables, and checks that they are as shipped.

`applied` knows what was applied and what forbids to continue; `applying` applies the rest; `retention` turns settings
into TTLs; `inspection` finds what was changed since; `session` is the connection and the driver's errors in words.
"""

from pipeline.clickhouse.migrations.applied import MigrationStatus
from pipeline.clickhouse.migrations.applying import Applied, each_host, migrate, pending, plan, status
from pipeline.clickhouse.migrations.inspection import check_schema, hidden
from pipeline.clickhouse.migrations.session import Client, Statement, connected, layout_of

__all__ = (
    "Applied",
    "Client",
    "MigrationStatus",
    "Statement",
    "check_schema",
    "connected",
    "each_host",
    "hidden",
    "layout_of",
    "migrate",
    "pending",
    "plan",
    "status",
)
