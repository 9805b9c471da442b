"""The naive pipeline on Quix Streams: the same rows, written by a sink of the framework's batches.

It runs in an environment of its own; see `environments`.
"""

import os
import tempfile
from typing import Any

import clickhouse_connect
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from tests.benchmarks.naive_rows import COLUMNS, create, to_row


class Table(BatchingSink):  # type: ignore[misc] # the framework is not installed where types are checked
    """One ClickHouse table."""

    def setup(self) -> None:
        self._table = os.environ["NAIVE_TABLE"]
        self._client = clickhouse_connect.get_client(dsn=os.environ["NAIVE_CLICKHOUSE"], autogenerate_session_id=False)
        self._client.command(create(self._table))

    def write(self, batch: SinkBatch) -> None:
        rows: list[tuple[Any, ...]] = [to_row(batch.partition, item.offset, item.value) for item in batch]
        self._client.insert(self._table, rows, column_names=list(COLUMNS), column_type_names=list(COLUMNS.values()))


def main() -> None:
    """Run until ended."""
    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=os.environ["NAIVE_KAFKA"],
            consumer_group=os.environ["NAIVE_GROUP"],
            auto_offset_reset="earliest",
            auto_create_topics=False,
            commit_interval=float(os.environ["NAIVE_MAX_AGE"]),
            commit_every=int(os.environ["NAIVE_BATCH"]),
            state_dir=state,
        )
        topic = app.topic(os.environ["NAIVE_TOPIC"], value_deserializer="bytes")
        app.dataframe(topic).sink(Table())
        app.run()


if __name__ == "__main__":
    main()
