"""`python -m tests.benchmarks.footprint`: what an event costs in CPU and bytes, on every machine it passes.

Only CPU time of processes and bytes, which a busy machine hardly changes; never seconds. Everything is real: broker,
daemon, server. What it prints are the inputs of `python -m tests.benchmarks.scale`.
"""

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from pipeline.tools.simulation import Traffic, events
from tests.benchmarks.__main__ import ask
from tests.benchmarks.peers.gauges import process_cpu
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.kafka_image import FULL_SPEED
from tests.servers.process import free_port

PARTITIONS = 4
TRAFFIC = Traffic(seed=7)
CODECS = ("lz4", "zstd")
BATCHES = (10_000, 50_000)
TABLES = ("run_steps", "run_step_ledger")
INSERTS, ROWS = 300, 5_000
"""Of the question how often a row is merged."""
QUIET = 4.0
"""Seconds without a merge after which the server has come to rest."""
SMALL_INSERT = """
INSERT INTO small.run_step_ingest
    (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, ingested_at, outcome, thread_id, run_id, step_id,
     type, status, created_at, version)
SELECT 'small', number % 8, number + {first}, now64(3), now64(3), 'stored', hex(sipHash64(number, {first}, 1)),
    hex(sipHash64(number, {first}, 2)), hex(sipHash64(number, {first}, 3)), 'tool_calls', 'completed',
    now64(3) - rand() % 600, number
FROM numbers({rows})
"""


class Reading(NamedTuple):
    """What one pass of a daemon over the topic has cost."""

    daemon_cpu: float
    server_cpu: float
    broker_cpu: float
    insert_bytes: float
    memory: int
    scrape: bytes


def produce(kafka: KafkaServer, topic: str, codec: str, count: int) -> tuple[float, float]:
    """Fill a topic; return bytes of the values, and CPU seconds of the broker."""
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1), NewTopic(f"{topic}.dlq", 1, 1)])
    spent, size = process_cpu(kafka.process.pid), 0
    with closing(
        KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=50, batch_size=131_072, compression_type=codec)
    ) as producer:
        for event in islice(events(TRAFFIC, count, time.time() - 3600), count):
            producer.send(topic, key=event.key, value=event.value)
            size += len(event.value or b"")
        producer.flush()
    return size, process_cpu(kafka.process.pid) - spent


def log_bytes(kafka: KafkaServer, topic: str) -> int:
    """Return the bytes of a topic's segments."""
    return sum(file.stat().st_size for file in (kafka.folder / "log").glob(f"{topic}-[0-9]*/*.log"))


@contextmanager
def daemon(kafka: KafkaServer, server: ClickHouseServer, database: str, batch: int) -> Iterator[tuple[int, int]]:
    """Run the real daemon; yield its process and port."""
    port = free_port()
    settings = {
        "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "RUNSTEP_KAFKA__TOPICS": CODECS[0],
        "RUNSTEP_KAFKA__GROUP_ID": database,
        "RUNSTEP_CLICKHOUSE__URL": server.url,
        "RUNSTEP_CLICKHOUSE__DATABASE": database,
        "RUNSTEP_BATCH__MAX_ROWS": str(batch),
        "RUNSTEP_BATCH__MAX_AGE": "20",
        "RUNSTEP_HTTP__BIND": f"127.0.0.1:{port}",
        "RUNSTEP_LOG__LEVEL": "warning",
    }
    environment = os.environ | settings
    subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    for table in TABLES:
        server.query(f"SYSTEM STOP MERGES {database}.{table}")
    process = subprocess.Popen([sys.executable, "-m", "pipeline.cli", "run"], env=environment)
    try:
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(60)


def read(kafka: KafkaServer, server: ClickHouseServer, database: str, batch: int, count: int) -> Reading:
    """Let a daemon read the topic of the first codec, while the server merges nothing."""
    with daemon(kafka, server, database, batch) as (pid, port):
        while ask(port) is None:
            time.sleep(0.1)
        # What starting costs is no event's: it is paid once.
        mine, theirs, broker = process_cpu(pid), process_cpu(server.process.pid), process_cpu(kafka.process.pid)
        received = happened(server, "NetworkReceiveBytes")
        while sum((ask(port) or {"counts": {}})["counts"].values()) < count:
            time.sleep(0.2)
        mine, broker = process_cpu(pid) - mine, process_cpu(kafka.process.pid) - broker
        theirs = process_cpu(server.process.pid) - theirs
        received = happened(server, "NetworkReceiveBytes") - received
        memory = resident(pid)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            scrape = answer.read()
    return Reading(mine, theirs, broker, received, memory, scrape)


def happened(server: ClickHouseServer, event: str) -> int:
    """Return how often, or how much, something has happened in the server since it started."""
    return int(server.query(f"SELECT sum(value) FROM system.events WHERE event = '{event}'"))  # noqa: S608 - our own names


def resident(pid: int) -> int:
    """Return a process' memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def merge(server: ClickHouseServer, database: str, count: int) -> None:
    """Let every row be merged once, and print what that costs and what the tables take then."""
    for table in TABLES:
        spent = process_cpu(server.process.pid)
        server.query(f"SYSTEM START MERGES {database}.{table}")
        server.query(f"OPTIMIZE TABLE {database}.{table} FINAL")
        spent = process_cpu(server.process.pid) - spent
        sql = "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND (database, table) = "
        rows, size = map(int, server.query(f"{sql}('{database}', '{table}')").split())
        print(
            f"  {table}: {rows / count:.3f} rows/event, {size / rows:.1f} bytes/row, {size / count:.1f} bytes/event; "
            f"merged once {spent / count * 1e6:.2f} µs/event"
        )


def rewrites(server: ClickHouseServer) -> None:
    """Insert many small parts, let the server merge as it likes, and print how often a row was merged."""
    settings = {"RUNSTEP_CLICKHOUSE__URL": server.url, "RUNSTEP_CLICKHOUSE__DATABASE": "small"}
    command = [sys.executable, "-m", "pipeline.cli", "migrate"]
    subprocess.run(command, env=os.environ | settings, check=True, stdout=subprocess.DEVNULL)
    before, most = happened(server, "MergedRows"), 0
    parts = (
        "SELECT max(c) FROM (SELECT count() AS c FROM system.parts WHERE active AND database = 'small' GROUP BY table)"
    )
    for number in range(INSERTS):
        server.query(SMALL_INSERT.format(first=number * ROWS, rows=ROWS))
        most = max(most, int(server.query(parts)))
    since = time.monotonic()
    while time.monotonic() - since < QUIET:
        if int(server.query("SELECT count() FROM system.merges")):
            since = time.monotonic()
        time.sleep(0.2)
    merged = happened(server, "MergedRows") - before
    print(
        f"{INSERTS} inserts of {ROWS:,} rows: each row merged {merged / (INSERTS * ROWS * len(TABLES)):.1f} times, "
        f"at most {most} active parts in a table"
    )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=200_000)
    count = options.parse_args().events
    with KafkaServer(java_options=FULL_SPEED) as kafka, ClickHouseServer() as server:
        for codec in CODECS:
            size, cpu = produce(kafka, codec, codec, count)
            print(
                f"kafka, {codec}: {size / count:.0f} bytes/value, {log_bytes(kafka, codec) / count:.0f} bytes/event on "
                f"disk, broker {cpu / count * 1e6:.1f} µs/event to take it"
            )
        for batch in BATCHES:
            database = f"batches_of_{batch}"
            cost = read(kafka, server, database, batch, count)
            per = {name: value / count * 1e6 for name, value in zip(("daemon", "server", "broker"), cost, strict=False)}
            print(f"batches of {batch:,}: CPU µs/event " + ", ".join(f"{name} {it:.1f}" for name, it in per.items()))
            series = sum(not line.startswith(b"#") for line in cost.scrape.splitlines())
            print(
                f"  insert {cost.insert_bytes / count:.0f} bytes/event on the wire; daemon {cost.memory / 2**20:.0f} "
                f"MiB; /metrics {series:,} series, {len(cost.scrape):,} bytes"
            )
            merge(server, database, count)
        rewrites(server)


if __name__ == "__main__":
    main()
