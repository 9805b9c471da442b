"""`make bench`: the whole daemon on real servers, beside the naive reference, in one run.

Both read the same topic, one after the other and in turns, into the same ClickHouse; the first round warms up. What
counts is the ratio: these are whole processes on whatever machine this is. Prints events per second, CPU microseconds
per event of the client, the ratio, and the profile of our hot path by stage.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from pipeline.tools.simulation import Traffic, events
from tests.benchmarks.peers.gauges import process_cpu
from tests.benchmarks.stages import profile
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.kafka_image import FULL_SPEED
from tests.servers.process import free_port

PARTITIONS = 4
TOPIC = "bench"
GOOD = Traffic(seed=7, poison_ratio=0, foreign_ratio=0, page_ratio=0, deltas_per_step=0)
"""What the naive reference survives: run steps only."""


@dataclass(frozen=True)
class Measure:
    """One run of one side."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cost(self) -> float:
        return self.cpu_seconds / self.events * 1e6


def produce(bootstrap: str, count: int, compression: str | None) -> None:
    """Fill the topic."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1), NewTopic(f"{TOPIC}.dlq", 1, 1)])
    admin.close()
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=262_144, compression_type=compression
    )
    for event in events(GOOD, count, time.time() - 3600):
        producer.send(TOPIC, key=event.key, value=event.value)
    producer.flush()
    producer.close()


def naive(bootstrap: str, url: str, count: int, batch: int, round_: int) -> Measure:
    """Run the naive reference once."""
    given = {"NAIVE_COUNT": str(count), "NAIVE_BATCH": str(batch), "NAIVE_CLICKHOUSE": url, "NAIVE_TOPIC": TOPIC}
    given["NAIVE_TABLE"] = f"naive_steps_{round_}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.naive"],
        env=os.environ | given | {"NAIVE_KAFKA": bootstrap},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Measure(**json.loads(done.stdout))


@contextmanager
def daemon(bootstrap: str, url: str, batch: int, group: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the real daemon as its users do."""
    port = free_port()
    settings = {
        "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "RUNSTEP_KAFKA__TOPICS": TOPIC,
        "RUNSTEP_KAFKA__GROUP_ID": group,
        "RUNSTEP_CLICKHOUSE__URL": url,
        "RUNSTEP_BATCH__MAX_ROWS": str(batch),
        "RUNSTEP_HTTP__BIND": f"127.0.0.1:{port}",
        "RUNSTEP_LOG__LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "pipeline.cli", "run"], env=os.environ | settings)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(30)


def runstep(bootstrap: str, url: str, count: int, batch: int, round_: int) -> Measure:
    """Run the daemon once; the clock starts with the first record it has read, as for the other side."""
    with daemon(bootstrap, url, batch, f"bench-{round_}-{time.time()}") as (process, port):
        began: float | None = None
        spent = 0.0
        while True:
            time.sleep(0.1)
            status = ask(port)
            busy = status and (
                status["buffer"]["rows"] or status["buffer"]["writing"] or sum(status["counts"].values())
            )
            if began is None and busy:
                began, spent = time.monotonic(), process_cpu(process.pid)
            if began is not None and status and sum(status["counts"].values()) >= count:
                return Measure(count, time.monotonic() - began, process_cpu(process.pid) - spent)


def ask(port: int) -> dict[str, Any] | None:
    """Return the daemon's status, None while it is starting."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def report(sides: dict[str, list[Measure]], console: Console) -> None:
    """Print medians and the ratios pair by pair."""
    table = Table("side", "events/s", "client CPU µs/event", title="whole processes on real servers, medians")
    for side, measures in sides.items():
        rates, costs = [m.rate for m in measures], [m.cost for m in measures]
        table.add_row(side, f"{statistics.median(rates):,.0f}", f"{statistics.median(costs):.1f}")
    console.print(table)
    pairs = list(zip(sides["runstep"], sides["naive"], strict=True))
    speed = [mine.rate / other.rate for mine, other in pairs]
    cost = [other.cost / mine.cost for mine, other in pairs]
    for name, ratios in (("events/s against naive", speed), ("naive's CPU against runstep's", cost)):
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        console.print(f"{name}, pair by pair: {listed}; median {statistics.median(ratios):.2f}")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--batch", type=int, default=50_000)
    options.add_argument("--compression", choices=["none", "lz4", "zstd", "gzip"], default="lz4")
    given = options.parse_args()
    console = Console()
    with KafkaServer(java_options=FULL_SPEED) as kafka, ClickHouseServer() as clickhouse:
        url = clickhouse.address.url
        console.print(f"producing {given.events:,} events …")
        produce(kafka.bootstrap, given.events, None if given.compression == "none" else given.compression)
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "migrate"],
            env=os.environ | {"RUNSTEP_CLICKHOUSE__URL": url},
            check=True,
        )
        sides: dict[str, list[Measure]] = {"runstep": [], "naive": []}
        for round_ in range(given.rounds + 1):
            mine = runstep(kafka.bootstrap, url, given.events, given.batch, round_)
            other = naive(kafka.bootstrap, url, given.events, given.batch, round_)
            for side, measure in (("runstep", mine), ("naive", other)):
                console.print(f"round {round_}: {side} {measure.rate:,.0f} events/s, {measure.cost:.1f} µs/event")
            if round_:
                sides["runstep"].append(mine)
                sides["naive"].append(other)
        report(sides, console)
        console.print(profile(GOOD, url))


if __name__ == "__main__":
    main()
