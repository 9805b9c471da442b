"""What a database has, what it lacks, and how it gets it.

`book` knows what was applied and what forbids to go on, `applying` does it, `retention` turns settings into TTLs,
`inspection` finds what somebody changed since, `server` is the connection and the driver's errors in words.
"""

from pipeline.clickhouse.migrations.applied import Status
from pipeline.clickhouse.migrations.applying import Applied, each_host, migrate, plan, status
from pipeline.clickhouse.migrations.inspection import check_schema
from pipeline.clickhouse.migrations.session import Client, Statement, connected, layout_of

__all__ = (
    "Applied",
    "Client",
    "Statement",
    "Status",
    "check_schema",
    "connected",
    "each_host",
    "layout_of",
    "migrate",
    "plan",
    "status",
)
