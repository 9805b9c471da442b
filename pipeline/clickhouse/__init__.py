"""ClickHouse: everything of the daemon that uses `clickhouse_connect`.

`connection` connects, over HTTP(S) or embedded; `sink` is the `Sink`; `insert_settings` makes inserts idempotent;
`deduplication` checks that a repeated insert is recognized; `insert_proof` checks that an insert did what its OK says;
`error_classes` classifies failures; `migrations` creates the tables.
"""

from pipeline.clickhouse.connection import connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.sink import ClickHouseSink

__all__ = ["ClickHouseSink", "connect", "sink_error"]
