"""ClickHouse, the only place where `clickhouse_connect` is spoken to by the daemon.

`client` makes connections, over HTTP(S) or embedded, `clickhouse` is the `Sink`, `classify` says what a failure means.
"""

from pipeline.sink.classify import sink_error
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.sink.client import connect

__all__ = ["ClickHouseSink", "connect", "sink_error"]
