"""`runstep report` on a real server and on an embedded directory: what the page says against what was stored."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.config import ClickHouseSettings
from schemas.row import Row
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.rows import CREATED, step_row, unstored_row
from tests.support.html_pages import ReadPage, foreign
from tests.support.sink_setup import fill, settings_for

BEGIN = 1_789_999_200_000
"""2026-09-21T14:00:00Z; the steps below are created at 14:13:20 unless they say otherwise."""
HOUR = ["--since", "2026-09-21T14:00", "--until", "2026-09-21T15:00"]
BUCKET, LATER, READ = "2026-09-21 14:13:00", "2026-09-21 14:23:00", "2026-09-21 14:13:00"
NONE = "-"
HOSTILE = "</script><img src=x onerror=alert(1)>"
FAILED: dict[str, Any] = {
    "status": "failed",
    "completed_at": None,
    "failed_at": CREATED + 4_000,
    "error_code": "rate_limit_exceeded",
    "error_category": "rate_limit",
    "error_retryable": True,
    "error_message": f"Rate limit reached {HOSTILE}\x1b[31m",
    "error_fingerprint": "f1",
}
WAITING: dict[str, Any] = {
    "status": "in_progress",
    "completed_at": None,
    "ended_at": None,
    "duration_ms": None,
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens")),
}


def at(created: int, lasting: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of a step that completed, and whose record was read when it was created."""
    end = created + lasting
    stamps = {"created_at": created, "completed_at": end, "ended_at": end, "duration_ms": lasting}
    return {**stamps, "kafka_timestamp": created, "ingested_at": created, **changes}


def example_rows() -> list[Row]:
    """Seven steps of three runs within the hour, and what else was read."""
    first = at(BEGIN, 900, type="message_creation", run_id="run_2", tool_types=[], tool_names=[], kafka_partition=1)
    first["ingested_at"] = BEGIN + 30_000
    last = at(CREATED + 600_000, 60_000, run_id="run_3", assistant_id=HOSTILE, tool_names=[HOSTILE])
    return [
        step_row(0, **first),  # at the very beginning of the range
        step_row(0),
        step_row(1, **at(CREATED, 8_000)),
        step_row(2, **FAILED),
        step_row(3, **FAILED),
        step_row(4, **WAITING),
        unstored_row(5),
        unstored_row(6, outcome="dead_lettered", reason="invalid_json"),
        step_row(8, step_id="several_0"),  # offset 7 is missing
        unstored_row(8, step_index=1, outcome="dead_lettered", reason="schema_violation"),
        step_row(9, step_id="step_1", **{**at(CREATED, 8_000), "version": 9_001}),  # the same step once more
        step_row(10, step_id="step_10", **last),
        step_row(11, **at(BEGIN + 3_600_000, 1_000)),  # the first moment behind the range
        step_row(12, **at(BEGIN - 1, 1_000, run_id="run_0")),  # the last moment before it
    ]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runstep.toml of the machine takes part, and the page is written here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def filled(clickhouse: ClickHouseAddress) -> Iterator[str]:
    """A database with the example rows; no test changes it."""
    name = f"report_{uuid.uuid4().hex[:8]}"
    fill(settings_for(clickhouse, name), example_rows())
    yield name
    clickhouse.query(f"DROP DATABASE `{name}`")


@pytest.fixture
def server(clickhouse: ClickHouseAddress, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command's environment name a filled database."""
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url.replace("http://", "http://default:@"))
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", filled)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> ReadPage:
    """Run the command and read the page it wrote."""
    assert execute(["report", *arguments]) == 0, capsys.readouterr().err
    named = re.search(r"^written to (\S+) \(\d+\.\d MB\)$", capsys.readouterr().out, re.MULTILINE)
    assert named
    return ReadPage(Path(named[1]).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("server")
def test_the_page_says_what_is_stored(clickhouse: ClickHouseAddress, capsys: pytest.CaptureFixture[str]) -> None:
    read = report(capsys, *HOUR, "--title", HOSTILE)
    assert {key: tile[0] for key, tile in read.tiles.items() if key != "age"} == {
        "steps": "8",
        "success": "71.43 %",
        "failures": "2",
        "p50": "4 s",
        "p95": "1 min",
        "p99": "1 min",
        "tokens": "1,078",
        "runs": "3",
        "records": "11",
    }
    assert read.tiles["steps"][1] == "1 in progress, 0 cancelled"
    assert read.tiles["records"][1] == "= 8 stored + 2 dead-lettered + 1 ignored"
    assert read.tiles["runs"][1] == "1 with a failed or expired step"
    _drawings_are_right(read)
    _tables_are_right(read)
    _nothing_acts_and_nothing_leaks(read)
    assert f"from ClickHouse at {clickhouse.url}, database" in read.text


def _nothing_acts_and_nothing_leaks(read: ReadPage) -> None:
    assert read.runs_only_what_it_names()
    assert (read.handlers, foreign(read), read.elements.get("img"), read.elements["script"]) == ([], [], None, 3)
    assert read.text.lstrip().startswith(HOSTILE)
    assert "default:" not in read.text


def _drawings_are_right(read: ReadPage) -> None:
    assert read.series("steps") == {
        "completed": {"2026-09-21 14:00:00": 1, BUCKET: 3, LATER: 1},
        "in_progress": {BUCKET: 1},
        "failed": {BUCKET: 2},
    }
    assert read.series("success")["tool_calls"] == {BUCKET: 60, LATER: 100}
    assert read.series("durations")["p50"] == {"2026-09-21 14:00:00": 0.9, BUCKET: 4, LATER: 60}
    assert read.series("failures") == {"rate_limit": {BUCKET: 2}}
    assert read.series("tokens") == {
        "input": {"2026-09-21 14:00:00": 120, BUCKET: 600, LATER: 120},
        "output": {"2026-09-21 14:00:00": 34, BUCKET: 170, LATER: 34},
    }
    assert read.series("records") == {
        "stored": {"2026-09-21 14:00:30": 1, READ: 6, LATER: 1},
        "ignored": {READ: 1},
        "dead_lettered": {READ: 2},
    }
    assert read.series("delay")["p99"] == {"2026-09-21 14:00:30": 30, READ: 1}
    (heat,) = read.drawings["heatmap"]["data"]
    drawn = {
        (bin_, x): cell
        for bin_, row in zip(heat["y"], heat["z"], strict=True)
        for x, cell in zip(heat["x"], row, strict=True)
        if cell
    }
    assert drawn == {
        ("≤ 1 s", "2026-09-21 14:00:00"): 1,
        ("≤ 5 s", BUCKET): 4,
        ("≤ 10 s", BUCKET): 1,
        ("≤ 1 min", LATER): 1,
    }


def _tables_are_right(read: ReadPage) -> None:
    (error,) = read.rows("errors")
    assert (error["fingerprint"], error["steps"], error["runs"], error["category"]) == ("f1", "2", "1", "rate_limit")
    assert error["message"] == f"Rate limit reached {HOSTILE}\u241b[31m"
    assert [row["duration"] for row in read.rows("slowest")[:3]] == ["1 min", "8 s", "4 s"]
    (stuck,) = read.rows("stuck")
    assert (stuck["step"], stuck["deadline"]) == ("step_4", "passed")
    assert [(row["run"], row["duration"], row["steps"]) for row in read.rows("longest_runs")] == [
        ("run_3", "1 min", "1"),
        ("run_2", "900 ms", "1"),
    ]
    assert [(row["tool"], row["calls"], row["failed or expired steps"]) for row in read.rows("tools")] == [
        ("search", "6", "2"),
        (HOSTILE, "1", "0"),
    ]
    assert {row["reason"]: row["records"] for row in read.rows("reasons")} == {
        "invalid_json": "1",
        "schema_violation": "1",
        "tombstone": "1",
    }
    first, second = read.rows("partitions")
    assert [first[name] for name in ("read", "stored", "dead-lettered", "ignored", "gaps")] == ["10", *"7211"]
    assert [second[name] for name in ("read", "stored", "first offset", "gaps")] == ["1", "1", "0", "0"]


@pytest.mark.usefixtures("server")
def test_a_range_without_anything_is_a_page_that_says_where_there_is_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = report(capsys, "--since", "2020-01-01", "--until", "2020-01-02")
    assert "no step was created and no record was read" in read.text
    assert "were created from 2026-09-21 13:59:59 to 2026-09-21 15:00:00 UTC" in read.text
    assert read.scripts == []


@pytest.mark.usefixtures("server")
def test_steps_without_records_and_records_without_steps_have_no_figures_of_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = report(capsys, "--since", "2026-09-21T14:00", "--until", "2026-09-21T14:00:10")
    assert [steps.tiles[key][0] for key in ("steps", "records", "age")] == ["1", "0", NONE]
    records = report(capsys, "--since", "2026-09-21T14:13:25", "--until", "2026-09-21T14:14")
    assert [records.tiles[key][0] for key in ("steps", "p50", "runs", "records")] == ["0", NONE, "0", "7"]


@pytest.mark.usefixtures("server")
def test_all_time_is_a_range_too(capsys: pytest.CaptureFixture[str]) -> None:
    read = report(capsys, "--since", "9999999w", "--until", "9999-12-31")
    assert [read.tiles[key][0] for key in ("steps", "runs", "records")] == ["10", "4", "13"]


def test_an_embedded_directory_gives_the_same_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://bob:hunter2@127.0.0.1:1")
    fill(ClickHouseSettings(url=SecretStr(f"chdb:{tmp_path / 'kept' / 'clickhouse'}")), example_rows())
    read = report(capsys, "--data", "kept", *HOUR, "--output", "mine.html")
    assert (read.tiles["steps"][0], read.tiles["records"][0]) == ("8", "11")
    assert "an embedded ClickHouse, database runsteps" in read.text
    assert str(tmp_path) not in Path("mine.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--since", "yesterday"], 64, "'yesterday' is neither an age such as 2h or 7d nor a time"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], 64, "--since must be before --until"),
        (["--data", "nowhere"], 78, "there is no data directory nowhere"),
        ([*HOUR, "--output", "no/such/place.html"], 78, "cannot write no/such/place.html: there is no folder"),
    ],
)
def test_a_mistake_gets_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["report", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("server")
def test_tables_of_an_earlier_version_are_named(
    clickhouse: ClickHouseAddress, filled: str, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clickhouse.query(f"CREATE DATABASE `{database}`")
    clickhouse.query(f"CREATE VIEW `{database}`.run_steps_current AS SELECT * FROM `{filled}`.run_steps_current")  # noqa: S608 - a test's own
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", database)
        assert execute(["report", *HOUR]) == 69
    assert "runs_between" in (printed := capsys.readouterr().err)
    assert "run `runstep migrate`" in printed


def test_a_server_that_is_away_and_tables_that_are_missing_are_named(
    clickhouse: ClickHouseAddress, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://bob:hunter2@127.0.0.1:1")
    assert execute(["report"]) == 69
    printed = capsys.readouterr().err
    assert "cannot connect to http://127.0.0.1:1" in printed
    assert "hunter2" not in printed
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "system")
    assert execute(["report"]) == 69
    assert "run `runstep migrate`" in capsys.readouterr().err
