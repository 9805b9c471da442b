"""Every query of the dashboards, asked of a real Prometheus and a real ClickHouse that a real daemon has filled.

`run` is the seam: it gives the addresses, the database, the time range and the job of one run with data. Any other way
of making such a run can take its place.
"""

import json
import math
import os
import signal
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from pipeline.config import ClickHouseSettings, KafkaSettings
from pipeline.migrations import connected, migrate
from pipeline.producing import EventProducer, timeline
from pipeline.simulation import Traffic, events
from tests.dashboards import FILES as DASHBOARDS
from tests.dashboards import HOUR, Range, Target, expand_promql, expand_sql, load, panels, promql_targets, sql_targets
from tests.integration.migration_rig import ENVIRONMENT, PASSWORDS, USERS, as_user
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.process import ServerProcess, free_port
from tests.servers.prometheus import PrometheusAddress

PROMQL = [pytest.param(target, id=target.where) for target in promql_targets()]
SQL = [pytest.param(target, id=target.where) for target in sql_targets()]
# What a healthy run with one member has none of; that their expressions are understood is still tested.
SHOWS_TROUBLE = {
    "run-steps / Insert retries by class / A": "no insert failed",
    "run-steps / Partitions taken away": "no other member came",
}
CONFIG = """
[kafka]
bootstrap_servers = "{bootstrap}"
topics = "{topic}"
group_id = "{topic}"
[clickhouse]
url = "{clickhouse}"
database = "{database}"
[batch]
max_age = 0.2
[http]
bind = "127.0.0.1:{port}"
"""


@dataclass(frozen=True)
class Run:
    """A run with data: where it was scraped to and stored, and when."""

    prometheus: PrometheusAddress
    clickhouse: ClickHouseAddress
    job: str
    database: str
    span: Range

    def promql(self, text: str) -> list[dict[str, Any]]:
        """Ask Prometheus as a panel does: one value for a figure, a range for the rest."""
        expr = expand_promql(text, self.span, job=self.job)
        return self.prometheus.query_range(expr, self.span.start, self.span.end)

    def sql(self, text: str, chosen: Mapping[str, list[str]] | None = None) -> list[dict[str, Any]]:
        """Ask ClickHouse for the hours in which the steps were made, and return the rows."""
        sql = expand_sql(text, Range(self.span.start - 7200, self.span.end), chosen) + "\nFORMAT JSON"
        answer: dict[str, Any] = json.loads(self.clickhouse.query(sql, database=self.database))
        return list(answer["data"])


@pytest.fixture(scope="module")
def run(
    kafka: KafkaAddress,
    kafka_admin: KafkaAdminClient,
    clickhouse: ClickHouseAddress,
    prometheus: PrometheusAddress,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Run]:
    """Run the daemon on simulated traffic, old steps too, until Prometheus has scraped the end of it."""
    name = f"dashboards-{uuid.uuid4().hex[:8]}"
    database, port = name.replace("-", "_"), free_port()
    folder = tmp_path_factory.mktemp("dashboards")
    config = folder / "runstep.toml"
    config.write_text(
        CONFIG.format(bootstrap=kafka.bootstrap, topic=name, clickhouse=clickhouse.url, database=database, port=port)
    )
    kafka_admin.create_topics([NewTopic(name, 2, 1), NewTopic(f"{name}.dlq", 1, 1)])
    settings = ClickHouseSettings(url=clickhouse.url, database=database)
    with connected(settings) as client:
        migrate(client, settings)
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", str(config)]
    daemon = ServerProcess(command, folder, os.getpid(), folder)
    try:
        daemon.wait_until(lambda: _answers(port), "the daemon")
        start = time.time()
        prometheus.scrape(f"127.0.0.1:{port}", name)
        prometheus.wait_for_scrape(name)
        _produce(kafka, name)
        _wait_until_counted(prometheus, name)
        yield Run(prometheus, clickhouse, name, database, Range(start - 1, time.time() + 1))
    finally:
        prometheus.forget(name)
        daemon.end(signal.SIGTERM)
        clickhouse.query(f"DROP DATABASE IF EXISTS `{database}`")
        kafka_admin.delete_topics([name, f"{name}.dlq"])


def _produce(kafka: KafkaAddress, topic: str) -> None:
    """Produce steps that ended within the last hour, and some that ended the day before yesterday."""
    producer = EventProducer(KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), topic)
    traffic = Traffic(seed=7, failure_ratio=0.2, poison_ratio=0.01)
    try:
        producer.produce(timeline(traffic, 4_000, 0))
        producer.produce(events(Traffic(seed=8), 300, time.time() - 172_800))
    finally:
        producer.close()


def _wait_until_counted(prometheus: PrometheusAddress, job: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        counted = prometheus.query(f'sum(runstep_records_total{{job="{job}"}}) >= 4300')
        if counted:
            # One more, so that every rate has two values on the far side of the change.
            prometheus.wait_for_scrape(job)
            return
        time.sleep(0.2)
    raise TimeoutError("the daemon did not account for everything within a minute")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("target", PROMQL)
def test_prometheus_answers_with_data(run: Run, target: Target) -> None:
    answer = run.promql(target.text)
    if target.where in SHOWS_TROUBLE:
        assert answer == []
        return
    values = [float(value) for series in answer for _, value in series["values"]]
    assert any(math.isfinite(value) for value in values)


@pytest.mark.parametrize("target", SQL)
def test_clickhouse_answers_with_rows(run: Run, target: Target) -> None:
    chosen = {"step": [_slowest(run)["step_id"]]}
    assert run.sql(target.text, chosen)


@pytest.fixture(scope="module")
def guarded() -> Iterator[ClickHouseServer]:
    """A server with the users of deploy/ and the tables, which are empty."""
    with ClickHouseServer(users=USERS, environment=ENVIRONMENT) as server:
        settings = as_user(server, "migrator")
        with connected(settings) as client:
            migrate(client, settings)
        yield server


@pytest.mark.parametrize("target", SQL)
def test_grafanas_user_may_ask_all_of_it(guarded: ClickHouseServer, target: Target) -> None:
    sql = expand_sql(target.text, HOUR)
    assert guarded.query(sql, user="runstep_reader", password=PASSWORDS["reader"], database="runsteps") == ""


def test_a_chosen_type_and_assistant_leave_only_their_rows(run: Run) -> None:
    slowest = _slowest(run)
    chosen = {"type": [slowest["type"]], "assistant": [slowest["assistant_id"]]}
    rows = run.sql(_statement("Slowest steps"), chosen)
    assert {(row["type"], row["assistant_id"]) for row in rows} == {(slowest["type"], slowest["assistant_id"])}
    assert run.sql(_statement("Slowest steps"), {"assistant": ["nobody's"]}) == []


def test_an_exemplar_of_the_heatmap_leads_to_its_step(run: Run) -> None:
    heatmap = next(target for target in promql_targets() if "/ Durations /" in target.where)
    expr = expand_promql(heatmap.text, run.span, job=run.job)
    series = run.prometheus.query_exemplars(expr, run.span.start, run.span.end)
    ids = {exemplar["labels"]["step_id"] for one in series for exemplar in one["exemplars"]}
    assert ids
    for step_id in ids:
        assert [row["step_id"] for row in run.sql(_statement("Step"), {"step": [step_id]})] == [step_id]


def test_the_figures_agree_with_the_tables(run: Run) -> None:
    """The dashboard's two sources tell the same story: steps counted by one are rows of the other."""
    counted = run.prometheus.value(
        f'sum(runstep_steps_total{{job="{run.job}"}}) + sum(runstep_backfilled_steps_total{{job="{run.job}"}})'
    )
    stored = run.clickhouse.query(
        "SELECT count() FROM run_steps_current WHERE status IN ('completed', 'failed', 'cancelled', 'expired')",
        database=run.database,
    )
    assert counted == int(stored)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_choice_offers_something(run: Run, path: Path) -> None:
    for variable in load(path)["templating"]["list"]:
        if variable["type"] != "query":
            continue
        inner = variable["definition"].removeprefix("label_values(").removesuffix(")")
        selector, _, label = inner.rpartition(", ")
        answer = run.prometheus.query(expand_promql(selector, job=run.job))
        assert any(series["metric"].get(label) for series in answer), variable["name"]


def _slowest(run: Run) -> dict[str, Any]:
    return run.sql(_statement("Slowest steps"))[0]


def _statement(title: str) -> str:
    return next(
        str(target["rawSql"])
        for path in DASHBOARDS
        for panel in panels(load(path))
        if panel["title"] == title
        for target in panel["targets"]
    )
