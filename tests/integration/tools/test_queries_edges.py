"""Reports about data that are seldom: equal ids in several threads, no thread, no usage, several steps in a record.

Each case has a day of its own in one embedded database.
"""

from collections.abc import Iterator
from typing import Any

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
from tests.support.fakes.rows import CREATED, step_row, unstored_row
from tests.support.sink_setup import fill

DAY = 86_400_000
MIDNIGHT = CREATED // DAY * DAY
SEVERAL, WEIGHTS, THREADLESS, NO_USAGE, USAGE, TWINS, ERRORS, OPEN, NOTHING = range(9)
"""The days, from MIDNIGHT on."""


def step(offset: int, day: int, at: int, seconds: int, **changes: Any) -> Row:
    """Return a step created so many seconds into the day; its record came when it was created."""
    created = MIDNIGHT + day * DAY + at * 1_000
    end = created + seconds * 1_000
    times = {"created_at": created, "completed_at": end, "ended_at": end, "duration_ms": seconds * 1_000}
    return step_row(offset, **{**times, "kafka_timestamp": created, "ingested_at": created, **changes})


def tools(*names: str) -> dict[str, Any]:
    kinds = ["function"] * len(names)
    return {"tool_call_count": len(names), "tool_names": list(names), "tool_types": kinds, "tool_call_ids": list(names)}


def broken(fingerprint: str, message: str, status: str = "failed") -> dict[str, Any]:
    error = {"error_category": "server", "error_code": message[:1], "error_fingerprint": fingerprint}
    return {"status": status, "error_message": message, **error}


def rows() -> list[Row]:
    """Return the rows of all days."""
    refused = {"kafka_timestamp": MIDNIGHT, "outcome": "dead_lettered", "reason": "schema_violation"}
    return [
        step(0, SEVERAL, 0, 1),
        *(unstored_row(0, step_index=index, **refused) for index in (1, 2)),
        step(1, SEVERAL, 0, 1),
        *(step(2 + n, WEIGHTS, 60 * n, lasting, **tools(*names)) for n, (lasting, names) in enumerate(CALLS)),
        step(5, THREADLESS, 0, 1, thread_id="", run_id="r1", **broken("f", "x")),
        step(6, THREADLESS, 5, 1, thread_id="", run_id="r2"),
        step(7, THREADLESS, 60, 1, thread_id="", run_id="r1"),
        step(8, NO_USAGE, 0, 1, **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"))),
        step(9, USAGE, 0, 1),
        *(step(10 + n, TWINS, n, 1, thread_id=f"t{n}", run_id="same", step_id="same") for n in range(2)),
        step(12, ERRORS, 0, 1, **broken("f", "earlier")),
        step(13, ERRORS, 9, 1, **broken("f", "later")),
        step(14, ERRORS, 10, 1, **broken("g", "given up", "cancelled")),
        step(15, OPEN, 0, 1, status="in_progress", **dict.fromkeys(("completed_at", "ended_at", "duration_ms"))),
    ]


CALLS = ((1, ("search", "search", "search")), (9, ("search",)))
"""Seconds and calls of two steps."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{tmp_path_factory.mktemp('edges')}"))
    fill(settings, rows())
    client = connect(settings, settings.database)
    yield client
    client.close()


def answer(client: Client, name: str, columns: str, *days: int, **given: str) -> list[tuple[Any, ...]]:
    report = reports()[name]
    whole = time_bounds(MIDNIGHT + days[0] * DAY, MIDNIGHT + (days[-1] + 1) * DAY)
    found = client.query(report.text, parameters=report.values(whole, given)).named_results()
    return [tuple(row[column] for column in columns.split()) for row in found]


def test_a_record_with_several_steps_is_one_record_and_counts_as_its_worst(client: Client) -> None:
    account = answer(client, "account", "records stored dead_lettered ignored", SEVERAL)
    assert account == [(2, 1, 1, 0)]
    assert answer(client, "ingest_freshness", "records", SEVERAL) == [(2,)]
    assert answer(client, "refusals", "reason records", SEVERAL) == [("schema_violation", 1)]
    assert answer(client, "ingest_by_hour", "rows stored dead_lettered", SEVERAL) == [(4, 2, 2)]


def test_a_step_with_many_calls_of_a_tool_weighs_no_more_than_another(client: Client) -> None:
    assert answer(client, "tools", "tool calls steps p50_s", WEIGHTS) == [("search", 4, 2, 9)]
    assert answer(client, "client_waits", "calls steps p50_s", WEIGHTS) == [(4, 2, 9)]
    (shown,) = page_answers(client, Period(MIDNIGHT + WEIGHTS * DAY, MIDNIGHT + (WEIGHTS + 1) * DAY))["tools"]
    assert (shown["calls"], shown["steps"], list(shown["percentiles"])) == (4, 2, [9_000, 9_000])


def test_where_nothing_has_ended_there_is_no_share_of_failures(client: Client) -> None:
    assert answer(client, "failures_by_hour", "ended failed failed_percent", OPEN) == [(0, 0, None)]
    assert answer(client, "outcomes_by_hour", "open success_percent p50_s", OPEN) == [(1, None, None)]


def test_steps_without_a_thread_are_no_retries_across_runs(client: Client) -> None:
    assert answer(client, "retries", "retried in_the_same_run p50_wait_s", THREADLESS) == [(1, 1, 59)]


def test_days_without_usage_are_no_mean_to_compare_with(client: Client) -> None:
    assert answer(client, "tokens_by_day", "total trend_percent", NO_USAGE, USAGE) == [(154, None), (0, None)]


def test_the_latest_of_several_with_the_same_ids_is_one(client: Client) -> None:
    assert answer(client, "run_timeline", "thread_id", TWINS) == [("t1",)]
    assert answer(client, "step_timeline", "thread_id", TWINS) == [("t1",)]
    assert answer(client, "run_timeline", "thread_id", TWINS, run="same") == [("t0",), ("t1",)]
    assert answer(client, "step_timeline", "thread_id", TWINS, step="same") == [("t0",), ("t1",)]


def test_an_error_is_that_of_a_failed_or_expired_step(client: Client) -> None:
    assert answer(client, "top_errors", "fingerprint", ERRORS) == [("f",)]
    assert answer(client, "new_errors", "fingerprint", ERRORS) == [], "the failed one was there on an earlier day"
    assert answer(client, "new_errors", "fingerprint", THREADLESS, ERRORS) == [("f",)]


def test_the_message_of_an_error_is_its_latest(client: Client) -> None:
    assert answer(client, "top_errors", "code sample steps", ERRORS) == [("l", "later", 2)]


def test_silence_may_be_longer_than_a_clock_of_seconds_can_count(client: Client) -> None:
    assert answer(client, "stuck_steps", "step_id", OPEN, minutes="1") == [("step_15",)]
    assert answer(client, "stuck_steps", "step_id", OPEN, minutes="999999999") == []


@pytest.mark.parametrize("name", sorted(reports()))
def test_where_nothing_is_a_report_says_nothing(client: Client, name: str) -> None:
    assert answer(client, name, "", NOTHING) == []
