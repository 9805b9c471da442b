"""The naive pipeline on arroyo: a task that makes the row, a batch, a task that inserts, a commit a second.

It runs in an environment of its own; see `environments`.
"""

import os
import signal
from collections.abc import Mapping
from functools import partial
from typing import Any

import clickhouse_connect
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.commit import ONCE_PER_SECOND
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import BatchStep, CommitOffsets, ProcessingStrategyFactory, RunTask
from arroyo.types import BrokerValue, Commit, Message, Partition, Topic

from tests.benchmarks.naive_rows import COLUMNS, create, to_row


def parse(message: Message[KafkaPayload]) -> tuple[Any, ...]:
    value = message.value
    assert isinstance(value, BrokerValue)
    return to_row(value.partition.index, value.offset, value.payload.value)


def insert(client: Any, table: str, message: Message[Any]) -> None:
    rows = [value.payload for value in message.payload]
    client.insert(table, rows, column_names=list(COLUMNS), column_type_names=list(COLUMNS.values()))


class Factory(ProcessingStrategyFactory[KafkaPayload]):  # type: ignore[misc] # not installed where types are checked
    """The steps of the pipeline, last first, as the framework composes them."""

    def __init__(self) -> None:
        self._client = clickhouse_connect.get_client(dsn=os.environ["NAIVE_CLICKHOUSE"], autogenerate_session_id=False)
        self._table = os.environ["NAIVE_TABLE"]
        self._client.command(create(self._table))

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> Any:
        written = RunTask(partial(insert, self._client, self._table), CommitOffsets(commit))
        rows, age = int(os.environ["NAIVE_BATCH"]), float(os.environ["NAIVE_MAX_AGE"])
        return RunTask(parse, BatchStep(max_batch_size=rows, max_batch_time=age, next_step=written))


def main() -> None:
    """Run until ended."""
    configuration = build_kafka_consumer_configuration(
        default_config={},
        bootstrap_servers=[os.environ["NAIVE_KAFKA"]],
        auto_offset_reset="earliest",
        group_id=os.environ["NAIVE_GROUP"],
    )
    processor = StreamProcessor(
        KafkaConsumer(configuration), Topic(os.environ["NAIVE_TOPIC"]), Factory(), ONCE_PER_SECOND
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processor.signal_shutdown())
    processor.run()


if __name__ == "__main__":
    main()
