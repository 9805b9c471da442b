"""Every named report gives the answer that was worked out by hand, to the reader of deploy/ and on embedded ClickHouse.

The data of `reports_rig` are there twice, with records that come late: the answers are those of each step once.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.clickhouse import connect
from pipeline.clickhouse.migrations import connected, migrate
from pipeline.config import ClickHouseSettings
from pipeline.tools.queries import reports
from tests.servers.clickhouse import ClickHouseServer
from tests.support import queries_rig
from tests.support.migration_rig import ENVIRONMENT, USERS, as_user
from tests.support.queries_truth import TRUTH
from tests.support.sink_setup import build


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    """A server with the users of deploy/, migrated by its migrator and filled by its writer."""
    with ClickHouseServer(users=USERS, environment=ENVIRONMENT) as server:
        settings = as_user(server, "migrator")
        with connected(settings) as client:
            migrate(client, settings)
        queries_rig.fill(as_user(server, "writer"))
        yield server


@pytest.fixture
def reader(server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ask as the reader of deploy/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", as_user(server, "reader").url.get_secret_value())


def ask(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    code = execute(["query", "--report", name, "--json", *arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def columns(rows: list[dict[str, Any]], names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names.split()) for row in rows]


def test_the_truth_of_every_report_is_known() -> None:
    assert set(TRUTH) == set(reports())


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.usefixtures("reader")
def test_a_report_says_what_was_worked_out_by_hand(capsys: pytest.CaptureFixture[str], name: str) -> None:
    arguments, names, truth = TRUTH[name]
    assert columns(ask(capsys, name, *arguments), names) == truth


def test_embedded_clickhouse_says_the_same(tmp_path: Path) -> None:
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{tmp_path}"))
    build(settings)
    queries_rig.fill(settings)
    client = connect(settings, settings.database)
    options = {"output_format_json_array_of_rows": 1, "date_time_output_format": "iso"}
    for name, report in reports().items():
        answer = client.raw_query(report.sql, fmt="JSONEachRow", settings=options)
        arguments, names, truth = TRUTH[name]
        assert arguments or columns(json.loads(answer), names) == truth, name
    client.close()


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        pytest.param(
            ["--since", "2026-03-02T10:00:12", "--until", "2026-03-02T10:01:08"], {"s3", "s4"}, id="to the second"
        ),
        pytest.param(["--since", "2026-03-11T11:00:00+01:00"], {"s11", "s12"}, id="another time zone"),
        pytest.param(["--until", "2026-03-02T10:00:00.001"], {"s1"}, id="a millisecond"),
        pytest.param(
            ["--since", "0001-01-01", "--until", "9999-12-31"], {f"s{n}" for n in range(1, 14)} - {"s9"}, id="far"
        ),
    ],
)
@pytest.mark.usefixtures("reader")
def test_the_span_has_its_beginning_and_not_its_end(
    capsys: pytest.CaptureFixture[str], arguments: list[str], steps: set[str]
) -> None:
    assert {row["step_id"] for row in ask(capsys, "slowest_steps", *arguments)} == steps


@pytest.mark.usefixtures("reader")
def test_a_run_belongs_to_the_span_in_which_it_began_and_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    before = ask(capsys, "slowest_runs", "--until", "2026-03-02T10:01:01")
    after = ask(capsys, "slowest_runs", "--since", "2026-03-02T10:01:01", "--until", "2026-03-03")
    assert columns(before, "run_id wall_s steps") == [("r2", 18, 3), ("r1", 16, 3)]
    assert columns(after, "run_id wall_s steps") == [("r4", 5, 1), ("r3", 3, 1)]


@pytest.mark.parametrize(
    ("name", "arguments", "names", "truth"),
    [
        (
            "retries",
            ["--set", "minutes=20"],
            "category retried succeeded in_the_same_run p50_wait_s",
            [("server", 1, 1, 0, 1197), ("expired", 0, 0, 0, None), ("rate_limit", 1, 1, 1, 2)],
        ),
        ("retries", ["--until", "2026-03-02T10:01:05"], "category retried succeeded", [("rate_limit", 1, 1)]),
        ("new_errors", ["--set", "days=30"], "fingerprint", [("f1",), ("f2",), ("f3",)]),
        ("new_errors", ["--set", "days=30", "--since", "2026-03-02T11:00"], "fingerprint", [("f2",), ("f3",)]),
        ("failures_by_hour", ["--set", "days=30", "--until", "2026-03-03"], "ended failed", [(2, 1), (6, 1)]),
        ("run_timeline", [], "run_id step_id", [("r8", "s12")]),
        ("run_timeline", ["--until", "2026-03-02T11:00"], "step_id", [("s4",), ("s5",), ("s6",)]),
        ("run_timeline", ["--set", "run=r1", "--set", "thread=tb"], "step_id", []),
        ("step_timeline", [], "step_id status", [("s12", "in_progress"), ("s12", "failed")]),
        ("step_timeline", ["--set", "step=s1", "--until", "2026-03-03"], "kafka_offset", [(0,), (1,)]),
        ("slowest_steps", ["--set", "assistant=bob", "--set", "limit=1"], "step_id", [("s10",)]),
        ("slowest_steps", ["--set", "assistant=x' OR 1 --\\"], "step_id", []),
    ],
)
@pytest.mark.usefixtures("reader")
def test_a_report_takes_its_arguments(
    capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], names: str, truth: list[tuple[Any, ...]]
) -> None:
    assert columns(ask(capsys, name, *arguments), names) == truth


@pytest.mark.usefixtures("reader")
def test_the_sql_that_is_shown_gives_the_same_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("runs_by_status", "slowest_steps"):
        arguments = [
            "--since",
            "2026-03-02T10:00:05",
            *(["--set", "assistant=an'n\\"] if name == "slowest_steps" else []),
        ]
        assert execute(["query", "--report", name, "--show", *arguments]) == 0
        sql = capsys.readouterr().out
        assert "{" not in sql
        monkeypatch.setattr("sys.stdin", io.StringIO(sql))
        assert execute(["query", "-", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == ask(capsys, name, *arguments)


@pytest.mark.usefixtures("reader")
def test_the_plan_says_what_would_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["query", "--report", "run_timeline", "--set", "run=r1", "--explain"]) == 0
    plan = capsys.readouterr().out
    assert "ix_run" in plan
    assert "│  explain" not in plan
