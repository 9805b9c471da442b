"""Values of producers in the SQL of the dashboards, on a real ClickHouse: each selects its own rows."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.servers.addresses import ClickHouseAddress
from tests.support.dashboards import Range, Target, expand_sql, sql_targets, statement
from tests.support.fakes.rows import CREATED
from tests.support.hostile_values import HOSTILE, ORDINARY, VALUES, hostile_steps

SPAN = Range(CREATED / 1000 - 3600, CREATED / 1000 + 3600)
LISTS = ("assistant", "type", "status", "tool", "error_category")


class Board:
    """A database with a step for each hostile value, which is its id, type, status, tool, and all its other names."""

    def __init__(self, server: ClickHouseAddress, database: str) -> None:
        self.server = server
        self.database = database

    def rows(self, text: str, chosen: dict[str, Iterable[str]]) -> list[dict[str, Any]]:
        """Return what a statement shows with these choices."""
        sql = expand_sql(text, SPAN, {name: list(values) for name, values in chosen.items()})
        answer = self.server.query(f"{sql}\nFORMAT JSON", database=self.database)
        return list(json.loads(answer)["data"])

    def steps(self, title: str, **chosen: Iterable[str]) -> set[str]:
        """Return the ids of the steps that a panel shows."""
        return {row["step_id"] for row in self.rows(statement(title), chosen)}


@pytest.fixture(scope="module")
def board(clickhouse: ClickHouseAddress) -> Iterator[Board]:
    with hostile_steps(clickhouse) as database:
        yield Board(clickhouse, database)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_selects_its_own_step(board: Board, value: str) -> None:
    for name in (*LISTS, "fingerprint"):
        assert board.steps("Search", **{name: [value]}) == {value}, name
    for title in ("Steps of the run", "Fields", "Events as received"):
        for chosen in ({"step_id": [value]}, {"run_id": [value]}, {"step_id": [value], "run_id": [value]}):
            assert board.steps(title, **chosen) == {value}, (title, chosen)
    assert board.steps("Fields", step_id=[value], run_id=[ORDINARY]) == set()
    dead_letters = board.rows(statement("Latest dead letters"), {"topic": [value]})
    assert [row["kafka_topic"] for row in dead_letters] == [value]


@pytest.mark.parametrize("value", VALUES)
def test_a_text_is_searched_as_it_is(board: Board, value: str) -> None:
    lower = value.lower()
    having = {one for one in (*VALUES, ORDINARY) if lower in f"{one} {one} thread  ".lower()}
    assert board.steps("Search", text=[value]) == having


@pytest.mark.parametrize("name", LISTS)
def test_a_list_selects_its_own_steps(board: Board, name: str) -> None:
    assert board.steps("Search", **{name: HOSTILE}) == set(HOSTILE)
    assert board.steps("Search", **{name: HOSTILE[::3]}) == set(HOSTILE[::3])


def test_a_value_that_no_step_has_selects_none(board: Board) -> None:
    for value in VALUES:
        none = f"{value} of nobody"
        assert board.steps("Search", assistant=[none]) == board.steps("Fields", step_id=[none]) == set()


@pytest.mark.parametrize("target", [pytest.param(target, id=target.where) for target in sql_targets()])
def test_no_statement_breaks_or_shows_more_with_any_value_in_all_of_its_variables(board: Board, target: Target) -> None:
    for value in VALUES:
        names = (*LISTS, "fingerprint", "text", "step_id", "run_id", "topic")
        for row in board.rows(target.text, {name: [value] for name in names}):
            assert row.get("step_id", value) == value
