"""The naive reference: a model per message, nested models, datetimes, row tuples, insert, commit.

What a capable engineer writes on a first day with the same four packages. It validates, it batches, it commits after
the insert; it knows one dialect family less, redacts nothing, accounts for nothing, and stops at the first bad record.
Run as a process of its own; ends when it has read all, or never where no number is given.
"""

import json
import os
import sys
import time
from typing import Any

import clickhouse_connect
from kafka import KafkaConsumer

from tests.benchmarks.naive_rows import COLUMNS, create, to_row


def main() -> None:
    """Read, insert, commit, until `NAIVE_COUNT` records are stored; print the measure as JSON."""
    count, batch_rows = int(os.environ.get("NAIVE_COUNT", "0")), int(os.environ["NAIVE_BATCH"])
    max_age, table = float(os.environ.get("NAIVE_MAX_AGE", "inf")), os.environ["NAIVE_TABLE"]
    client = clickhouse_connect.get_client(dsn=os.environ["NAIVE_CLICKHOUSE"], autogenerate_session_id=False)
    client.command(create(table))
    consumer = KafkaConsumer(
        os.environ["NAIVE_TOPIC"],
        bootstrap_servers=os.environ["NAIVE_KAFKA"],
        group_id=os.environ.get("NAIVE_GROUP", f"naive-{time.time()}"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10_000,
        fetch_max_wait_ms=100,
    )
    while not (first := consumer.poll(200)):
        pass
    began, spent = time.monotonic(), time.process_time()
    rows: list[tuple[Any, ...]] = []
    stored, written_at = 0, began
    polled = first
    while not count or stored < count:
        for messages in polled.values():
            rows.extend(to_row(message.partition, message.offset, message.value) for message in messages)
        due = len(rows) >= batch_rows or stored + len(rows) == count or time.monotonic() - written_at > max_age
        if rows and due:
            client.insert(table, rows, column_names=list(COLUMNS), column_type_names=list(COLUMNS.values()))
            consumer.commit()
            stored += len(rows)
            rows = []
        if not rows:
            written_at = time.monotonic()
        polled = consumer.poll(200) if not count or stored < count else {}
    seconds, cpu = time.monotonic() - began, time.process_time() - spent
    json.dump({"events": stored, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)
    consumer.close(autocommit=False)


if __name__ == "__main__":
    main()
