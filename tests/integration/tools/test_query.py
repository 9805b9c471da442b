"""`runstep query` on a real server and on an embedded data directory: answers, forms, a line for every mistake."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.tools.queries import NamedReport, reports
from schemas.row import Row
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.rows import CREATED, step_row, unstored_row
from tests.support.paths import ROOT
from tests.support.sink_setup import fill, settings_for

CURRENT = (
    "SELECT step_id, status, duration_ms, created_at, metadata, error_code FROM run_steps_current ORDER BY step_id"
)
FAILED: dict[str, Any] = {
    "status": "failed",
    "completed_at": None,
    "failed_at": CREATED + 4_000,
    "error_code": "rate_limit_exceeded",
    "error_category": "rate_limit",
    "error_retryable": True,
    "error_message": "Rate limit reached \x1b[31mred",
    "error_fingerprint": "f1",
}
WAITING: dict[str, Any] = {
    "status": "in_progress",
    "completed_at": None,
    "ended_at": None,
    "duration_ms": None,
    "total_tokens": None,
}


def example_rows() -> list[Row]:
    """Two steps that ended well, two that failed, one that hangs; a tombstone, a dead letter, and offset 7 missing."""
    return [
        step_row(0),
        step_row(1, duration_ms=8_000, total_tokens=46),
        step_row(2, **FAILED),
        step_row(3, **FAILED, kafka_partition=1),
        step_row(4, **WAITING),
        unstored_row(5),
        unstored_row(6, outcome="dead_lettered", reason="invalid_json"),
        step_row(8, step_index=0, step_id="a"),
        step_row(8, step_index=1, step_id="b"),
    ]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runstep.toml of the machine takes part."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(clickhouse: ClickHouseAddress, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command's environment name a filled database."""
    fill(settings_for(clickhouse, database), example_rows())
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", database)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's data directory with an embedded ClickHouse in it."""
    folder = tmp_path_factory.mktemp("demo")
    fill(ClickHouseSettings(url=SecretStr(f"chdb:{folder / 'clickhouse'}")), example_rows())
    return folder


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run the command; return what it printed, or on failure its one line of complaint."""
    capsys.readouterr()
    assert execute(["query", *arguments]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if code:
        assert out == ""
        assert err.count("\n") == 1
    return err if code else out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ask(capsys, *arguments, "--json"))
    return rows


@pytest.mark.usefixtures("server")
def test_every_form_tells_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys, CURRENT)
    assert rows[0] == {
        "step_id": "a",
        "status": "completed",
        "duration_ms": 4_000,
        "created_at": "2026-09-21T14:13:20.000Z",
        "metadata": {"tenant": "acme"},
        "error_code": "",
    }
    assert [json.loads(line) for line in ask(capsys, CURRENT, "--format", "jsonl").splitlines()] == rows
    in_csv = list(csv.DictReader(io.StringIO(ask(capsys, CURRENT, "--format", "csv"))))
    assert [row["step_id"] for row in in_csv] == [row["step_id"] for row in rows]
    table = ask(capsys, CURRENT)
    assert all(row["step_id"] in table for row in rows)
    assert "NULL" in table


@pytest.mark.usefixtures("server")
def test_text_of_producers_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = ask(capsys, "--report", "top_errors")
    assert "\x1b" not in table
    assert "␛[31mred" in table
    assert "one\ufffdline" in ask(capsys, "SELECT 'one\x85line' AS text")


HOSTILE = "SELECT 'a\x1b[2J\x9b1m\x7f\u202eb' AS text, '=1+1' AS formula, -5 AS number, '=\"x\"' AS quoted"


class Terminal(io.StringIO):
    """A standard output that people read."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
@pytest.mark.usefixtures("server")
def test_no_form_drives_a_terminal(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    assert execute(["query", HOSTILE, "--format", form]) == 0
    assert not re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown.getvalue())


@pytest.mark.usefixtures("server")
def test_a_file_has_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = csv.DictReader(io.StringIO(ask(capsys, HOSTILE, "--format", "csv")))
    assert row["text"] == "a\x1b[2J\x9b1m\x7f\u202eb"
    assert as_json(capsys, HOSTILE)[0]["text"] == row["text"]


@pytest.mark.usefixtures("server")
def test_a_spreadsheet_runs_no_text_as_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    sql = HOSTILE + """, '+1', '@SUM(1)', '-1', concat(char(9), '=1'), '\uff1d1', 'a=1', 'say "=1"', '' """
    (row,) = list(csv.reader(io.StringIO(ask(capsys, sql, "--format", "csv", "--spreadsheet"))))[1:]
    assert row[1:4] == ["'=1+1", "-5", '\'="x"']
    assert row[4:] == ["'+1", "'@SUM(1)", "'-1", "'\t=1", "'\uff1d1", "a=1", 'say "=1"', ""]
    assert "--format csv" in ask(capsys, "SELECT 1", "--spreadsheet", code=64)


@pytest.mark.usefixtures("server")
def test_a_long_answer_is_cut_in_the_table_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["query", "SELECT number FROM numbers(1500)"]) == 0
    out, err = capsys.readouterr()
    assert " 999 " in out
    assert " 1000 " not in out
    assert "these are the first 1,000 rows" in err
    assert len(ask(capsys, "SELECT number FROM numbers(1500)", "--format", "jsonl").splitlines()) == 1_500


@pytest.mark.usefixtures("server")
def test_sql_may_come_from_standard_input_with_semicolon_and_comments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("-- how many\nSELECT count() AS n FROM run_steps_current;\n"))
    assert as_json(capsys, "-") == [{"n": 7}]


@pytest.mark.usefixtures("server")
def test_it_only_reads_on_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert "only reads" in ask(capsys, "DROP TABLE run_steps", code=1)
    assert as_json(capsys, "SELECT count() AS n FROM run_steps_current") == [{"n": 7}]


def test_it_only_reads_on_a_data_directory(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "only reads" in ask(capsys, "DROP TABLE run_steps", "--data", str(data), code=1)
    assert as_json(capsys, "SELECT count() AS n FROM run_steps_current", "--data", str(data)) == [{"n": 7}]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["SELECT nothing FROM run_steps_current"], 1, "nothing"),
        (["SELECT 1 FROM no_such_table"], 1, "no_such_table"),
        (["SELEC 1"], 1, "62"),
        (["SELECT 1 FORMAT CSV"], 1, "--format"),
        (["--report", "nonsense"], 64, "steps_by_status"),
        ([], 64, "--list"),
        (["SELECT 1", "--report", "account"], 64, "--report"),
        ([" ; "], 64, "empty"),
        (["SELECT 1", "--data", "nowhere"], 78, "nowhere"),
        (["--report", "account", "--since", "yesterday"], 64, "'yesterday' is neither an age such as 2h"),
        (["--report", "account", "--since", "1h", "--until", "1d"], 64, "--since must be before --until"),
        (["--report", "slowest_steps", "--set", "assistent=x"], 64, "it has limit, assistant"),
        (["--report", "account", "--set", "limit=1"], 64, "report account has no parameter 'limit'; it has none"),
        (["--report", "slowest_steps", "--set", "limit"], 64, "NAME=VALUE"),
        (["--report", "slowest_steps", "--set", "limit=many"], 64, "limit must be a whole number, such as 25"),
        (["--report", "slowest_steps", "--set", "limit=\u0663"], 64, "limit must be a whole number, such as 25"),
        (["SELECT no_such_function(1)"], 1, "no_such_function"),
        (["SELECT 1", "--since", "1d"], 64, "--report"),
        (["SELECT 1", "--show"], 64, "--report"),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_mistake_gets_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert words in ask(capsys, *arguments, code=code)


def test_a_server_that_is_away_and_a_database_that_is_missing_are_named(
    clickhouse: ClickHouseAddress, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://bob:hunter2@127.0.0.1:1")
    complaint = ask(capsys, "SELECT 1", code=69)
    assert "cannot connect to http://127.0.0.1:1" in complaint
    assert "hunter2" not in complaint
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "not_made_yet")
    assert "run `runstep migrate`" in ask(capsys, "SELECT 1", code=69)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "system")
    assert "`runstep migrate` creates the tables" in ask(capsys, "--report", "runs_by_status", code=1)


def test_a_data_directory_in_use_names_the_fix(data: Path) -> None:
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{data / 'clickhouse'}"))
    holder = ClickHouseSink(lambda: settings)
    holder.probe()
    try:
        program = [sys.executable, "-m", "pipeline.cli", "query", "SELECT 1", "--data", str(data)]
        root = ROOT
        asked = subprocess.run(program, capture_output=True, text=True, check=False, cwd=root, timeout=60)
    finally:
        holder.close()
    assert asked.returncode == 69
    assert f"in use by process {os.getpid()}; stop that one first" in asked.stderr
    assert asked.stderr.count("\n") == 1
    assert asked.stdout == ""


def test_list_names_every_report_with_its_group_its_question_and_its_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = ask(capsys, "--list")
    described = {one["name"]: one for one in as_json(capsys, "--list")}
    assert list(described) == list(reports())
    for report in reports().values():
        assert f"  {report.name}" in listed
        assert report.description in listed
        assert f"\n{report.group}\n" in listed
        assert len(report.description) > 20
        assert [one["name"] for one in described[report.name]["parameters"]] == [one.name for one in report.parameters]
        for one in report.parameters:
            assert f"--set {one.name}={one.default}  {one.meaning}" in listed


def test_a_report_takes_its_span_and_every_parameter_that_it_names() -> None:
    for report in reports().values():
        placeholders = set(re.findall(r"\{(\w+):", report.text))
        assert placeholders == {"since", "until", *(one.name for one in report.parameters)}, report.name
        assert "{" not in report.sql


@pytest.mark.parametrize("report", reports().values(), ids=lambda report: report.name)
def test_the_cookbook_has_the_report_with_its_question(report: NamedReport) -> None:
    book = (ROOT / "pipeline" / "tools" / "queries" / "README.md").read_text()
    assert f"| `{report.name}` | {report.description} |" in book


def test_the_cookbook_has_no_report_that_is_not_there() -> None:
    book = (ROOT / "pipeline" / "tools" / "queries" / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| ", book, re.MULTILINE)) == set(reports())
