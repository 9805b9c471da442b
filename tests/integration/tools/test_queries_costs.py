"""No report is quadratic: neither in the tools of a step, nor in the steps of a run or in the failures of a thread.

A day with some of them and a day with four times as many stand in one embedded database. Costs are processor time, the
best of several runs, and the bound is between what is linear (4) and what is quadratic (16).
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from pipeline.clickhouse import connect
from pipeline.config import ClickHouseSettings
from pipeline.tools.html_report import Period
from pipeline.tools.html_report.page_queries import page_answers
from pipeline.tools.queries import reports
from pipeline.tools.queries.parameters import time_bounds
from schemas.row import Row
from tests.support.fakes.rows import CREATED, step_row
from tests.support.sink_setup import fill

DAY: Final = 86_400_000
MIDNIGHT: Final = CREATED // DAY * DAY
TOOLS: Final = 16_383
"""Four times as many are as many as a step can have: the number of calls is a UInt16."""
STEPS: Final = 4_000
SHAPES: Final = ("tools of a step", "steps of a run")
MOST_GROWTH: Final = 9
FIXED_S: Final = 0.1
"""What any query takes: a cost below is not compared."""


def step(day: int, at: int, **changes: Any) -> Row:
    """Return a failed step of a second, so many seconds into a day."""
    created = MIDNIGHT + day * DAY + at * 1_000
    times = {"created_at": created, "completed_at": None, "failed_at": created + 1_000, "ended_at": created + 1_000}
    ids = {"run_id": f"run_{day}", "thread_id": f"thread_{day}", "step_id": f"step_{at}"}
    error = {"status": "failed", "error_category": "server", "error_fingerprint": "f"}
    stamps = {"kafka_timestamp": created, "ingested_at": created, "duration_ms": 1_000}
    return step_row(day * DAY + at, **{**times, **ids, **error, **stamps, **changes})


def rows() -> Iterator[Row]:
    """Yield a day of each shape with some, and a day with four times as many."""
    for size in range(2):
        names = [f"tool_{number}" for number in range(TOOLS * 4**size)]
        calls = {"tool_names": names, "tool_types": ["function"] * len(names), "tool_call_ids": names}
        yield step(size, 0, tool_call_count=len(names), **calls)
        for number in range(STEPS * 4**size):
            yield step(2 + size, number * 2)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{tmp_path_factory.mktemp('costs')}"))
    fill(settings, list(rows()))
    client = connect(settings, settings.database)
    yield client
    client.close()


def cost(ask: Callable[[int], object], day: int) -> float:
    """Return the processor seconds of the faster of two runs."""
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        ask(day)
        best = min(best, time.process_time() - began)
    return best


def growth(ask: Callable[[int], object], shape: str) -> float:
    day = 2 * SHAPES.index(shape)
    return cost(ask, day + 1) / max(cost(ask, day), FIXED_S)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", reports())
def test_no_report_is_quadratic(client: Client, name: str, shape: str) -> None:
    report = reports()[name]

    def ask(day: int) -> None:
        whole = time_bounds(MIDNIGHT + day * DAY, MIDNIGHT + (day + 1) * DAY)
        client.query(report.text, parameters=report.values(whole, {}))

    assert growth(ask, shape) <= MOST_GROWTH


@pytest.mark.parametrize("shape", SHAPES)
def test_the_report_page_is_not_quadratic(client: Client, shape: str) -> None:
    def ask(day: int) -> None:
        page_answers(client, Period(MIDNIGHT + day * DAY, MIDNIGHT + (day + 1) * DAY))

    assert growth(ask, shape) <= MOST_GROWTH


@pytest.mark.parametrize("view", ["run_steps_current", "runs", "tool_calls"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_view_is_quadratic(client: Client, view: str, shape: str) -> None:
    def ask(day: int) -> None:
        client.command(f"SELECT * FROM {view} WHERE run_id = 'run_{day}' FORMAT Null")  # noqa: S608 - a test's own

    assert growth(ask, shape) <= MOST_GROWTH
