"""`make bench-queries`: every report of `runstep query` on ten million steps, in the real tables of a real server.

Fills a server of its own with thirty days of steps (`analytics_data.sql`, some minutes), then asks every report for the
latest day, the latest week and all time, as runstep_reader. Prints the medians of the time, the CPU time, the rows
read and the memory, and by which indexes the rows were found.

Milliseconds are those of this machine and of what else runs on it; CPU time, rows and memory say more.
"""

import argparse
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from pipeline.clickhouse.connection import connect
from pipeline.clickhouse.migrations import connected, migrate
from pipeline.tools.queries import NamedReport, reports
from pipeline.tools.queries.parameters import time_bounds
from tests.servers.clickhouse import ClickHouseServer
from tests.support.migration_rig import ENVIRONMENT, USERS, as_user

DATA = Path(__file__).with_name("analytics_data.sql")
DAYS = 30
STEPS_A_RUN = 4
SPANS = {"1 d": 1, "7 d": 7, "all": None}
CPU = "SELECT value FROM system.events WHERE event = 'OSCPUVirtualTimeMicroseconds'"


class Measure(NamedTuple):
    """What asking once took."""

    seconds: float
    cpu_seconds: float
    rows: int
    memory: int


def fill(server: ClickHouseServer, steps: int, console: Console, *, merged: bool) -> None:
    """Make the tables and a month of steps that ends now."""
    settings = as_user(server, "migrator", insert_timeout=600)
    with connected(settings) as client:
        migrate(client, settings)
    runs, length = steps // STEPS_A_RUN, DAYS * 86_400_000
    origin = round(time.time() * 1000) - length
    # As the server's own user: the statement continues from the offsets that are in the ledger.
    client = connect(settings.model_copy(update={"url": SecretStr(server.url)}), settings.database)
    for day in range(DAYS):
        first, end = runs * day // DAYS, runs * (day + 1) // DAYS
        values = {"origin": origin, "every": length / runs, "first": first, "count": end - first}
        client.command(DATA.read_text(), parameters=values)
        console.print(f"filled day {day + 1} of {DAYS}")
    for table in ("run_steps", "run_step_ledger") if merged else ():
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    client.close()


def measure(client: Any, events: Any, report: NamedReport, values: dict[str, str]) -> Measure:
    """Ask once."""
    began, spent = time.perf_counter(), events()
    summary = client.query(report.text, parameters=values, settings={"max_execution_time": 600}).summary
    return Measure(
        time.perf_counter() - began, events() - spent, int(summary["read_rows"]), int(summary["memory_usage"])
    )


def indexes(client: Any, report: NamedReport, values: dict[str, str]) -> str:
    """Return by which indexes the reads of a report leave out granules, and what share is left of the least read."""
    plan = client.query(f"EXPLAIN indexes = 1, description = 0 {report.text}", parameters=values).result_rows
    text = "\n".join(line for (line,) in plan)
    used = {
        name
        for name, detail, kept, all_ in re.findall(
            r"^\W*(Min-Max|Partition|PrimaryKey|Skip)\n((?:(?!^\W*(?:Min-Max|Partition|PrimaryKey|Skip)\n).*\n)*?)"
            r"\W*Granules: (\d+)/(\d+)",
            text,
            re.MULTILINE,
        )
        if int(kept) < int(all_)
        for name in [(re.search(r"Name: (\w+)", detail) or [name, name])[1]]
    }
    return ", ".join(sorted(used)) or "-"


def measures(server: ClickHouseServer, times: int) -> Iterator[tuple[NamedReport, str, Measure, str]]:
    """Yield the medians of every report and span."""
    settings = as_user(server, "reader", insert_timeout=600)
    client = connect(settings, settings.database)
    for report in reports().values():
        for name, days in SPANS.items():
            since = None if days is None else round((time.time() - days * 86_400) * 1000)
            values = report.values(time_bounds(since, None), {})
            taken = [measure(client, lambda: int(server.query(CPU)) / 1e6, report, values) for _ in range(times)]
            medians = Measure(*(statistics.median(column) for column in zip(*taken, strict=True)))
            yield report, name, medians, indexes(client, report, values)
    client.close()


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.analytics", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=3, help="how often each is asked")
    parser.add_argument("--merged", action="store_true", help="merge all parts first, as a month that is over")
    given = parser.parse_args()
    console = Console(width=140)
    table = Table("report", "span", "ms", "CPU ms", "rows read", "MB", "indexes that leave out granules")
    with ClickHouseServer(users=USERS, environment=ENVIRONMENT) as server:
        fill(server, given.steps, console, merged=given.merged)
        for report, name, taken, used in measures(server, given.times):
            numbers = (taken.seconds * 1e3, taken.cpu_seconds * 1e3, taken.rows, taken.memory / 1e6)
            table.add_row(report.name, name, *(f"{number:,.0f}" for number in numbers), used)
            console.print(report.name, name, *(f"{number:,.0f}" for number in numbers), used)
    console.print(table)


if __name__ == "__main__":
    main()
