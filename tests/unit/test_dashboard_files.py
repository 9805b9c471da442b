"""The dashboards as files: built by the code, and in keeping with the field's rules for readable dashboards.

The rules are those of grafana/dashboard-linter, which is a Go program; each test says the rule's name. Where a panel is
an exception it is listed with its reason.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import build
from pipeline.metrics.catalogue import SPECS
from tests.dashboards import FILES, Target, expand_promql, expand_sql, load, panels, promql_targets, sql_targets
from tests.dashboards import Range as TimeRange
from tests.promql import counters_outside_a_rate, misnamed, selectors

BOARDS = {path.stem: load(path) for path in FILES}
EVERY_PANEL = [
    pytest.param(panel, id=f"{name}-{panel['title']}") for name, board in BOARDS.items() for panel in panels(board)
]
PROMQL = [pytest.param(target, id=str(target)) for target in promql_targets()]
SQL = [pytest.param(target, id=str(target)) for target in sql_targets()]
# The series of a partition begins with its first loss: a rate would not see it, the counter's own value does.
NOT_A_RATE = {"run-steps / Records lost / A"}


def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    assert build.main(["--check"]) == 0
    assert [path.name for path in FILES] == [build.TARGET.name]


def test_a_dashboard_that_was_edited_by_hand_is_noticed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "TARGET", tmp_path / "run-steps.json")
    assert build.main(["--check"]) == 1
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    build.TARGET.write_text(build.TARGET.read_text().replace("Run steps", "My steps"))
    assert build.main(["--check"]) == 1
    assert "python -m deploy.grafana.build" in capsys.readouterr().err


def test_an_unknown_option_of_the_builder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--chekc"]) == 64
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_grafanas_own_model_understands_all_of_it(board: dict[str, Any]) -> None:
    """Round trip through the SDK's types; the ClickHouse targets are the one type it does not have."""
    register_default_plugins()
    known = json.loads(json.dumps(board))
    known["panels"] = [panel for panel in known["panels"] if panel["type"] != "table"]
    again = json.loads(json.dumps(Dashboard.from_json(json.loads(json.dumps(known))), cls=JSONEncoder))
    assert again == known


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_provisioned_dashboard_has_a_uid_and_no_traces_of_an_export(board: dict[str, Any]) -> None:
    """Rule uneditable-dashboard, and what file provisioning trips over."""
    assert board["uid"].startswith("runstep-")
    assert board["editable"] is False
    assert "id" not in board
    assert "__inputs" not in board


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_have_ids_and_places_of_their_own(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_reader_chooses_sources_jobs_and_daemons(board: dict[str, Any]) -> None:
    """Rules template-datasource (two sources are the documented exception), template-job, template-instance."""
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert {variables[name]["current"]["value"] for name in ("prometheus", "clickhouse")} == {
        "runstep-prometheus",
        "runstep-clickhouse",
    }
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
    for variable in variables.values():
        assert variable["label"]
        if variable["type"] == "query":
            # Rules template-label-promql, template-on-time-change-reload.
            assert variable["refresh"] == 2
            assert re.fullmatch(r"label_values\(.+, \w+\)", variable["definition"])


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
    assert list(misnamed(promql_parser.parse(expand_promql(target.text)))) == []


def test_every_metric_of_the_daemon_is_shown() -> None:
    texts = "\n".join([*(target.text for target in promql_targets()), *_definitions()])
    assert [spec.name for spec in SPECS if spec.name not in texts] == []


@pytest.mark.parametrize("target", SQL)
def test_sql_reads_what_a_reader_may_read(target: Target) -> None:
    tables = set(re.findall(r"(?:FROM|JOIN)\s+(\w+)", target.text))
    assert tables <= {"run_steps_current", "run_step_ledger"}
    # Read before the versions of a step are merged, it would find one that is no longer current.
    assert "PREWHERE" not in target.text
    assert "LIMIT" in target.text


@pytest.mark.parametrize("target", SQL)
def test_sql_has_no_variable_that_grafana_would_not_fill_in(target: Target) -> None:
    names = {variable["name"] for board in BOARDS.values() for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(?!__)(\w+)", target.text)) <= names
    assert "$" not in expand_sql(target.text, TimeRange(0, 1), {"type": ["it's"]})


def _definitions() -> Iterator[str]:
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            yield variable.get("definition", "")
