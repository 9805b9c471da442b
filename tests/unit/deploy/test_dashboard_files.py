"""The dashboards as files: built by the code, and in keeping with the field's rules for readable dashboards.

The rules are those of grafana/dashboard-linter, which is a Go program; each test says the rule's name. What is an
exception to one is listed with its reason.
"""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import build
from pipeline.metrics.catalogue import SPECS
from tests.support.dashboards import (
    FILES,
    HOUR,
    Target,
    boards,
    expand_promql,
    expand_sql,
    panels,
    promql_targets,
    sql_targets,
    variables,
)
from tests.support.paths import ROOT
from tests.support.promql import counters_outside_a_rate, misnamed, selectors

UIDS = {
    "runstep-overview": "run-steps-overview",
    "runstep-explorer": "run-step-explorer",
    "runstep-step": "run-and-step-detail",
    "runstep-ingest": "ingest-pipeline",
}
BOARDS = boards()
EVERY_BOARD = [pytest.param(board, id=uid) for uid, board in BOARDS.items()]
EVERY_PANEL = [
    pytest.param(panel, id=f"{uid}-{panel['title']}") for uid, board in BOARDS.items() for panel in panels(board)
]
PROMQL = [pytest.param(target, id=str(target)) for target in promql_targets()]
SQL = [pytest.param(target, id=str(target)) for target in sql_targets()]

# Rule target-counter-agg. The series of a partition begins with its first loss: a rate would not see it, the counter's
# own value does.
NOT_A_RATE = {"ingest-pipeline / Records lost / A"}
# Rule "bounded in time". A reader with an id does not know its time: indexes on the ids find the rows.
FOUND_BY_ID = {"run-and-step-detail"}
# Read by the plugin only.
CONSTANTS = {"clickhouse_adhoc_query"}
# Metrics that others define: every process of Python, and Prometheus itself.
OTHERS_METRICS = frozenset(
    {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "ALERTS"}
)


def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    assert build.main(["--check"]) == 0
    assert {board["uid"]: path.stem for path in FILES for board in [json.loads(path.read_text())]} == UIDS


def test_a_dashboard_that_was_edited_by_hand_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"], tmp_path) == 1
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    edited = tmp_path / "run-step-explorer.json"
    edited.write_text(edited.read_text().replace("Search", "My steps"))
    (tmp_path / "another.json").write_text("{}")
    capsys.readouterr()
    assert build.main(["--check"], tmp_path) == 1
    complaints = capsys.readouterr().err.splitlines()
    assert [line.split(" is not ")[0] for line in complaints] == [
        "run-step-explorer.json",
        "another.json (no longer built)",
    ]
    assert all("python -m deploy.grafana.build" in line for line in complaints)


def test_an_unknown_option_of_the_builder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--chekc"]) == 64
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_grafanas_own_model_understands_all_of_it(board: dict[str, Any]) -> None:
    """Round trip through the SDK's types; the ClickHouse targets are the one type it does not have."""
    register_default_plugins()
    known = json.loads(json.dumps(board))
    for panel in panels(known):
        panel["targets"] = [target for target in panel["targets"] if "rawSql" not in target]
    again = json.loads(json.dumps(Dashboard.from_json(json.loads(json.dumps(known))), cls=JSONEncoder))
    assert again == known


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_a_provisioned_dashboard_has_no_traces_of_an_export(board: dict[str, Any]) -> None:
    """Rule uneditable-dashboard, and what file provisioning trips over."""
    assert board["editable"] is False
    assert "id" not in board
    assert "__inputs" not in board


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_panels_have_ids_titles_and_places_of_their_own(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_figures_are_read_first(board: dict[str, Any]) -> None:
    """The first row answers "is all well?" on one screen: figures, side by side, over the full width."""
    first = [panel for panel in panels(board) if panel["gridPos"]["y"] == 1]
    assert {panel["type"] for panel in first} == {"stat"}
    assert sum(panel["gridPos"]["w"] for panel in first) == 24


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_a_reader_selects_sources_jobs_and_daemons(board: dict[str, Any]) -> None:
    """Rules template-datasource (two sources are the documented exception), template-job, template-instance."""
    names = variables(board)
    used = set(re.findall(r"\$\{(prometheus|clickhouse)\}", json.dumps(board["panels"])))
    sources = {name: variable for name, variable in names.items() if variable["type"] == "datasource"}
    assert set(sources) == used
    for name, variable in sources.items():
        assert variable["current"]["value"] == f"runstep-{name}"
    if "prometheus" in used:
        for name in ("job", "instance"):
            assert names[name]["multi"]
            assert names[name]["includeAll"]


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_variables_are_explained_and_kept_up_to_date(board: dict[str, Any]) -> None:
    """Rules template-label-promql, template-on-time-change-reload."""
    for name, variable in variables(board).items():
        if name in CONSTANTS:
            assert variable["hide"] == 2
            continue
        assert variable["label"]
        assert variable["description"].endswith(".")
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            if variable["datasource"]["uid"] == "${prometheus}":
                assert re.fullmatch(r"label_values\(.+, \w+\)", variable["definition"])


@pytest.mark.parametrize("uid", ["runstep-overview", "runstep-ingest"])
def test_starts_and_rebalances_are_marked(uid: str) -> None:
    marks = {mark["name"]: mark for mark in BOARDS[uid]["annotations"]["list"]}
    assert set(marks) == {"Daemon started", "Partitions taken away"}
    assert marks["Daemon started"]["useValueForTime"]
    assert all(mark["enable"] for mark in marks.values())


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source(panel: dict[str, Any]) -> None:
    """Rules panel-title-description, panel-units, panel-datasource, panel-no-targets."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for asking in (panel, *panel["targets"]):
        assert asking["datasource"]["uid"] in ("${prometheus}", "${clickhouse}")
    ids = [target["refId"] for target in panel["targets"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_figures_have_thresholds(panel: dict[str, Any]) -> None:
    if panel["type"] == "stat":
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_an_empty_cell_of_a_table_stays_empty(panel: dict[str, Any]) -> None:
    """What Grafana shows in place of no value, it shows in every cell without one."""
    if panel["type"] == "table":
        assert "noValue" not in panel["fieldConfig"]["defaults"]


@pytest.mark.parametrize("target", PROMQL)
def test_promql_follows_the_rules(target: Target) -> None:
    """Rules target-promql, target-rate-interval, target-job, target-instance, target-counter-agg."""
    parsed = promql_parser.parse(expand_promql(target.text))
    for selector in selectors(parsed):
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert {"job", "instance"} <= matched
    assert not re.search(r"\b(?:i?rate)\([^[]*\[(?!\$__rate_interval\])", target.text)
    if target.where not in NOT_A_RATE:
        assert counters_outside_a_rate(parsed) == []


@pytest.mark.parametrize("target", PROMQL)
def test_every_metric_and_label_exists(target: Target) -> None:
    assert list(misnamed(promql_parser.parse(expand_promql(target.text)), OTHERS_METRICS)) == []


def test_every_metric_of_the_daemon_is_shown() -> None:
    texts = "\n".join(target.text for target in promql_targets())
    assert [spec.name for spec in SPECS if spec.name not in texts] == []


@pytest.mark.parametrize("target", SQL)
def test_sql_reads_what_a_reader_may_read(target: Target) -> None:
    tables = set(re.findall(r"(?:FROM|(?<!ARRAY )JOIN)\s+(\w+)", target.text))
    assert tables <= {"run_steps_current", "run_step_ledger"}
    # Read before the versions of a step are merged, it would find one that is no longer current.
    assert "PREWHERE" not in target.text
    assert "LIMIT" in target.text


@pytest.mark.parametrize("target", SQL)
def test_sql_is_bounded_by_the_time_range_or_by_an_id(target: Target) -> None:
    """Every read of a table has its own bound; a table's key begins with the hour of the step's creation."""
    reads = len(re.findall(r"FROM run_step", target.text))
    if target.where.split(" / ")[0] in FOUND_BY_ID:
        assert target.text.count(" = '' OR step_id = ") + target.text.count(" IN (\n") >= reads - 1
    else:
        column = "ingested_at" if "run_step_ledger" in target.text else "created_at"
        assert target.text.count(f"$__timeFilter({column})") == reads


@pytest.mark.parametrize("target", SQL)
def test_sql_has_no_variable_that_grafana_would_not_fill_in(target: Target) -> None:
    board = BOARDS[{stem: uid for uid, stem in UIDS.items()}[target.where.split(" / ")[0]]]
    assert set(re.findall(r"\$\{?(?!__)(\w+)", target.text)) <= set(variables(board))
    chosen = {"type": ["it's"], "filters": ["status|=|failed"]}
    assert "$" not in expand_sql(target.text, HOUR, chosen)


@pytest.mark.parametrize("target", SQL)
def test_no_character_of_a_value_ends_its_literal(target: Target) -> None:
    """Only the macro's own argument is bare, which the plugin reads before variables are filled in."""
    sql = re.sub(r", \$\w+\)", ")", target.text)
    used = re.findall(r"(.)\$\{?(?!__)(\w+)(.{0,16})", sql)
    assert all((before, after) == ("'", ":percentencode}'") for before, _, after in used)


def test_only_the_heatmap_asks_for_exemplars() -> None:
    asking = [
        panel["title"]
        for board in BOARDS.values()
        for panel in panels(board)
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert asking == ["Durations"]


def test_grafana_opens_with_the_overview() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).stem == UIDS["runstep-overview"]
