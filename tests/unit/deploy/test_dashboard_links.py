"""The ways between the dashboards: each leads to a board that is there, with the time range and what is chosen."""

import re
from typing import Any

import pytest
import yaml

from tests.support.dashboards import Link, boards, links, panels, variables
from tests.support.paths import ROOT

BOARDS = boards()
EVERY_BOARD = [pytest.param(board, id=uid) for uid, board in BOARDS.items()]
LINKS = [pytest.param(link, id=str(link)) for link in links()]
# Read by the plugin only.
CONSTANTS = {"clickhouse_adhoc_query"}


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_a_bar_of_links_leads_to_the_other_boards_with_time_and_choices(board: dict[str, Any]) -> None:
    (bar,) = board["links"]
    assert bar["type"] == "dashboards"
    assert bar["tags"] == ["runstep"]
    assert bar["keepTime"]
    assert bar["includeVars"]
    assert "runstep" in board["tags"]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_a_board_with_the_time_range_and_what_both_can_choose(link: Link) -> None:
    here, there = variables(BOARDS[link.board]), variables(BOARDS[link.target])
    assert "${__url_time_range}" in link.parts
    chosen = {part.removeprefix("var-").split("=")[0] for part in link.parts if part.startswith("var-")}
    carried = {match[1] for match in (re.fullmatch(r"\$\{(\w+):queryparam\}", part) for part in link.parts) if match}
    assert chosen <= set(there)
    assert carried == (set(here) & set(there)) - chosen - CONSTANTS


@pytest.mark.parametrize("link", LINKS)
def test_a_link_takes_its_values_from_the_row_that_was_clicked(link: Link) -> None:
    panel = next(panel for panel in panels(BOARDS[link.board]) if panel["title"] == link.panel)
    columns = set(re.findall(r"\$\{__data\.fields\.(\w+):percentencode\}", link.url))
    sql = "".join(target.get("rawSql", "") for target in panel["targets"])
    assert all(re.search(rf"\b{column}\b", sql.split("\nFROM")[0]) for column in columns)
    labels = set(re.findall(r"\$\{__field\.labels\.(\w+):percentencode\}", link.url))
    exprs = "".join(target.get("expr", "") for target in panel["targets"])
    assert all(re.search(rf"by \([^)]*\b{label}\b", exprs) for label in labels)


@pytest.mark.parametrize("link", LINKS)
def test_no_character_of_a_value_ends_its_part_of_a_link(link: Link) -> None:
    for value in re.findall(r"\$\{[^}]*\}", link.url):
        assert value == "${__url_time_range}" or value.endswith((":percentencode}", ":queryparam}"))


def test_every_row_of_steps_leads_to_the_step() -> None:
    """A table with a column of step ids has the link on it."""
    leading = {(link.panel, link.column) for link in links() if link.target == "runstep-step"}
    for panel in panels(BOARDS["runstep-explorer"]):
        sql = "".join(target.get("rawSql", "") for target in panel["targets"])
        if panel["type"] == "table" and re.search(r"^\s+step_id,", sql, re.MULTILINE):
            assert (panel["title"], "step_id") in leading


def test_the_boards_lead_to_each_other() -> None:
    ways = {(link.board, link.target) for link in links()}
    assert {
        ("runstep-overview", "runstep-explorer"),
        ("runstep-overview", "runstep-ingest"),
        ("runstep-explorer", "runstep-step"),
        ("runstep-step", "runstep-explorer"),
        ("runstep-ingest", "runstep-step"),
    } <= ways


def test_the_datasources_are_the_ones_the_boards_ask_for() -> None:
    file = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "runstep.yml"
    sources = {source["uid"]: source for source in yaml.safe_load(file.read_text())["datasources"]}
    for board in BOARDS.values():
        for variable in variables(board).values():
            if variable["type"] == "datasource":
                assert sources[variable["current"]["value"]]["type"] == variable["query"]
    (destination,) = sources["runstep-prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["url"] == "/d/runstep-step?var-step_id=$${__value.raw:percentencode}"
    assert destination["urlDisplayLabel"]
