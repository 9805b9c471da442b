"""Every query of the dashboards, asked of a real Prometheus and a real ClickHouse that a real daemon has filled."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient

from pipeline.clickhouse.migrations import connected, migrate
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.dashboard_rig import JOB, Run, eventful
from tests.support.dashboards import (
    FILES,
    HOUR,
    Link,
    Target,
    boards,
    expand_promql,
    expand_sql,
    expression,
    follow,
    links,
    load,
    panels,
    promql_targets,
    sql_targets,
    statement,
    variables,
)
from tests.support.migration_rig import ENVIRONMENT, PASSWORDS, USERS, as_user
from tests.support.paths import ROOT

PROMQL = [pytest.param(target, id=target.where) for target in promql_targets()]
SQL = [pytest.param(target, id=target.where) for target in sql_targets()]
# The ledger lies in the order of offsets: two narrow columns of it are read whole.
READS_ALL = {"ingest-pipeline / Latest dead letters / A"}
TIMES = """
    SELECT run_id, status, toUnixTimestamp64Milli(created_at) AS began, toUnixTimestamp64Milli(ended_at) AS ended
    FROM run_steps_current ORDER BY created_at, ended, step_id"""


@pytest.fixture(scope="module")
def run(
    kafka: KafkaAddress, kafka_admin: KafkaAdminClient, clickhouse: ClickHouseAddress, promtool: Callable[..., Any]
) -> Iterator[Run]:
    """One eventful run; without Debian's Prometheus it is skipped, as `promtool` is."""
    del promtool
    with eventful(kafka, kafka_admin, clickhouse) as made:
        yield made


@pytest.fixture(scope="module")
def failed(run: Run) -> dict[str, Any]:
    """A failed step in a run of several steps."""
    rows = run.rows("""
        SELECT step_id, run_id, thread_id, assistant_id, type, error_fingerprint FROM run_steps_current
        WHERE status = 'failed' AND error_message != '' AND run_id IN (
            SELECT run_id FROM run_steps_current GROUP BY run_id HAVING count() > 2
        ) ORDER BY step_id LIMIT 1""")
    return rows[0]


@pytest.mark.parametrize("target", PROMQL)
def test_prometheus_answers_with_data(run: Run, target: Target) -> None:
    assert any(math.isfinite(value) for value in run.promql(target))


@pytest.mark.parametrize("target", SQL)
def test_clickhouse_answers_with_rows(run: Run, failed: dict[str, Any], target: Target) -> None:
    assert run.sql(target.text, {"step_id": [failed["step_id"]]})


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
    chosen = {name: ["x"] for name in re.findall(r"\$\{(\w+):", target.text)} | {"filters": ["status|=|failed"]}
    sql = f"SELECT count() FROM ({expand_sql(target.text, HOUR, chosen)})"  # noqa: S608 - the board's own
    assert guarded.query(sql, user="runstep_reader", password=PASSWORDS["reader"], database="runsteps") in (
        "0\n",
        "1\n",
    )


def test_any_other_column_can_be_a_filter_of_every_panel(run: Run) -> None:
    """Ad hoc filters act on the current rows: a step that has failed is no longer under way."""
    chosen = {"filters": ["status|=|failed", "total_tokens|>|1000"]}
    expected = run.rows("SELECT count() AS n FROM run_steps_current WHERE status = 'failed' AND total_tokens > 1000")
    assert 0 < run.sql(statement("Selected steps"), chosen)[0]["steps"] <= expected[0]["n"]
    for row in run.sql(statement("Search"), chosen):
        assert row["status"] == "failed"
        assert row["total_tokens"] > 1000
    statuses = run.sql(statement("Steps per hour by status"), {"filters": ["status|=|in_progress"]})
    assert {row["status"] for row in statuses} == {"in_progress"}


def test_selected_variables_narrow_what_is_shown(run: Run, failed: dict[str, Any]) -> None:
    search = statement("Search")
    for choice, column in (("assistant", "assistant_id"), ("type", "type")):
        rows = run.sql(search, {choice: [failed[column]]})
        assert {row[column] for row in rows} == {failed[column]}
    assert {row["status"] for row in run.sql(search, {"status": ["failed", "expired"]})} == {"failed", "expired"}
    assert {row["step_id"] for row in run.sql(search, {"text": [failed["step_id"].upper()]})} == {failed["step_id"]}
    searches = run.sql(search, {"tool": ["file_search"]})
    assert searches
    assert all("file_search" in row["tools"] for row in searches)
    assert run.sql(search, {"assistant": ["unknown's"]}) == []


def test_an_exemplar_of_the_heatmap_leads_to_its_step_and_run(run: Run) -> None:
    """Along the link that the provisioned datasource has, to the board that is there under its uid."""
    file = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "runstep.yml"
    sources = yaml.safe_load(file.read_text())["datasources"]
    destination = sources[0]["jsonData"]["exemplarTraceIdDestinations"][0]
    link = Link("exemplar", "", "", destination["url"].replace("$$", "$"))
    assert {"run_id", "step_id"} <= set(variables(boards()[link.target]))
    expr = expand_promql(expression("Durations"), run.span, job=JOB)
    series = run.prometheus.query_exemplars(expr, run.span.start, run.span.end)
    ids = [exemplar["labels"][destination["name"]] for one in series for exemplar in one["exemplars"]]
    assert len(ids) > 10
    for step_id in sorted(set(ids))[:3]:
        chosen = follow(link, {"__value.raw": step_id}.__getitem__)
        assert chosen == {"step_id": [step_id]}
        assert step_id in {row["step_id"] for row in run.sql(statement("Steps of the run"), chosen)}
        assert {row["step_id"] for row in run.sql(statement("Fields"), chosen)} == {step_id}


# Without those of dead letters: a rejected record has no row; only another event of its step would show the step.
TO_THE_STEP = [
    pytest.param(link, id=str(link))
    for link in links()
    if link.target == "runstep-step" and link.board != "runstep-ingest"
]


@pytest.mark.parametrize("link", TO_THE_STEP)
def test_a_row_leads_to_its_run(run: Run, failed: dict[str, Any], link: Link) -> None:
    rows = run.sql(statement(link.panel), {"step_id": [failed["step_id"]]})
    row = next(row for row in rows if row[link.column])
    chosen = follow(link, lambda name: str(row[name.removeprefix("__data.fields.")]))
    shown = run.sql(statement("Steps of the run"), chosen)
    assert len({step["run_id"] for step in shown}) == 1
    assert chosen["run_id"][0] in ("", shown[0]["run_id"])
    assert chosen["step_id"][0] in ("", *(step["step_id"] for step in shown))
    assert chosen != {"run_id": [""], "step_id": [""]}


def test_a_run_and_a_step_that_are_not_each_others_show_nothing(run: Run, failed: dict[str, Any]) -> None:
    for title in ("Steps of the run", "Fields", "Error", "Events as received"):
        assert run.sql(statement(title), {"run_id": ["another"], "step_id": [failed["step_id"]]}) == []
        assert run.sql(statement(title), {}) == []


def test_the_waterfall_ends_where_the_steps_do(run: Run, failed: dict[str, Any]) -> None:
    chosen = {"run_id": [failed["run_id"]]}
    steps = [step for step in run.rows(TIMES) if step["run_id"] == failed["run_id"]]
    beginning = min(step["began"] for step in steps)
    bars = run.sql(statement("Steps over time"), chosen)
    assert len(bars) == len(steps) > 2
    for bar, step in zip(bars, steps, strict=True):
        assert bar["begins after"] == step["began"] - beginning
        if step["ended"] is not None:
            assert bar[step["status"]] == step["ended"] - step["began"]
    summary = run.sql(statement("Run"), chosen)[0]
    assert summary["active"] + summary["waiting"] == summary["duration"]
    assert summary["duration"] == max(step["ended"] or 0 for step in steps) - beginning


def test_the_lifecycle_shows_every_event_of_the_step(run: Run, failed: dict[str, Any]) -> None:
    events = run.sql(statement("Events as received"), {"step_id": [failed["step_id"]]})
    account = run.rows("SELECT step_id FROM run_step_ledger FINAL")
    assert len(events) == len([row for row in account if row["step_id"] == failed["step_id"]]) > 1
    assert {"in_progress", "failed"} <= {event["status"] for event in events}


def test_the_figures_agree_with_the_tables(run: Run) -> None:
    """The two data sources agree: Prometheus counts as many steps as ClickHouse has rows."""
    counted = run.prometheus.value(
        f'sum(max_over_time(runstep_steps_total{{job="{JOB}"}}[5m]))'
        f' + sum(max_over_time(runstep_backfilled_steps_total{{job="{JOB}"}}[5m]))'
    )
    stored = run.rows("SELECT count() AS n FROM run_steps_current WHERE status != 'in_progress'")
    assert counted == stored[0]["n"]


def test_the_error_budget_is_what_the_objective_leaves(run: Run) -> None:
    success = Target("", expression("Success ratio"), instant=True)
    budget = Target("", expression("Error budget left"), instant=True)
    ratio = run.promql(success)[0]
    assert 0 < ratio < 1
    for objective in ("0.9", "0.999"):
        left = run.promql(budget, objective=objective)[0]
        assert math.isclose(left, 1 - (1 - ratio) / (1 - float(objective)), rel_tol=1e-6)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variable_offers_values(run: Run, path: Any) -> None:
    for variable in variables(load(path)).values():
        if variable["type"] != "query" or variable["datasource"]["uid"] != "${prometheus}":
            continue
        inner = variable["definition"].removeprefix("label_values(").removesuffix(")")
        selector, _, label = inner.rpartition(", ")
        answer = run.prometheus.query(expand_promql(selector, job=JOB))
        assert any(series["metric"].get(label) for series in answer), variable["name"]


@pytest.mark.parametrize("target", SQL)
def test_the_tables_keys_or_indexes_find_the_rows(run: Run, failed: dict[str, Any], target: Target) -> None:
    """On ten million steps a statement that reads them all takes seconds."""
    if target.where in READS_ALL:
        return
    sql = run.expanded(target.text, {"step_id": [failed["step_id"]]})
    plan = run.clickhouse.query(f"EXPLAIN indexes = 1 {sql}", database=run.database)
    assert "toStartOfHour(created_at)" in plan or "ix_step" in plan or "ix_run" in plan, plan


def test_every_panel_was_asked() -> None:
    asked = {target.where.split(" / ")[1] for target in (*promql_targets(), *sql_targets())}
    assert {panel["title"] for board in boards().values() for panel in panels(board)} <= asked
