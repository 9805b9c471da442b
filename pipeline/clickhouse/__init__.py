"""ClickHouse, the only place where `clickhouse_connect` is spoken to by the daemon.

`client` makes connections, over HTTP(S) or embedded, `clickhouse` is the `Sink`, `classify` says what a failure means.
"""

from pipeline.clickhouse.connection import connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.sink import ClickHouseSink

__all__ = ["ClickHouseSink", "connect", "sink_error"]
