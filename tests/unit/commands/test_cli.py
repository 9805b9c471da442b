"""The command line: help, exit codes, and one line for every mistake."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from pipeline import __version__
from pipeline.cli import COMMANDS, execute, load_command
from pipeline.commands._settings import settings_from_context
from pipeline.errors import (
    ConfigError,
    DeadLetterUnavailable,
    ErrorClass,
    RunstepError,
    ServiceUnavailable,
    SinkUnavailable,
    SourceUnavailable,
)
from pipeline.workers.supervisor import WorkersFailed
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runstep.toml of the machine takes part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def query(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command of the test's own in the place of `query`; set its function `query`."""
    module = ModuleType("pipeline.commands.query")
    monkeypatch.setitem(sys.modules, "pipeline.commands.query", module)
    return module


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert "runstep demo" in text


def test_help_needs_no_library_of_a_service() -> None:
    program = (
        "import sys; from pipeline.cli import execute; code = execute(['--help']);"
        "heavy = {'kafka', 'clickhouse_connect', 'prometheus_client', 'textual'};"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr == "0 []\n"


def test_only_commands_that_read_records_load_what_reads_them() -> None:
    program = (
        "import sys; from pipeline.cli import COMMANDS, load_command;"
        "print(*[name for name in sys.argv[1:] if load_command(name) and 'msgspec' in sys.modules])"
    )
    others = [name for name in COMMANDS if name not in {"run", "dlq", "demo"}]
    assert "query" in others
    command = [sys.executable, "-c", program, *others]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_command(name).name == name
    assert execute([name, "--help"]) == 0
    assert f"runstep {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"runstep {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chekc"], "runstep: No such command 'chekc'. Did you mean 'check'? See `runstep --help`."),
        (["--confg"], "runstep: No such option: --confg"),
        (["config", "--jsno"], "runstep config: No such option: --jsno"),
        (["config", "extra"], "runstep config: Got unexpected extra argument"),
        (["--config"], "runstep: Option '--config' requires an argument."),
        (["config", "--json", "--toml"], "runstep config: Invalid value: give one of --json, --toml and --markdown"),
    ],
)
def test_wrong_usage_is_one_line_and_64(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(arguments) == 64
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([]) == 64
    assert "Commands" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("kafka.topics is empty"), 78),
        (ServiceUnavailable("Kafka is away"), 69),
        (SourceUnavailable("Kafka is away"), 69),
        (DeadLetterUnavailable("Kafka is away"), 69),
        (SinkUnavailable("ClickHouse is away", ErrorClass.TRANSIENT), 69),
        (WorkersFailed("workers die"), 70),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.Exit(1), 1),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_what_ends_a_command_decides_the_exit_code(
    query: ModuleType, error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    query.query = fail  # type: ignore[attr-defined]
    assert execute(["query"]) == code
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    if isinstance(error, RunstepError):
        assert printed == f"runstep: {error}\n"


def test_a_fault_of_ours_is_one_line_without_secrets_and_a_stack_on_demand(
    query: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ValueError("two\nlines with password=hunter2 in them")

    query.query = fail  # type: ignore[attr-defined]
    assert execute(["query"]) == 70
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "ValueError: two lines" in printed
    assert "hunter2" not in printed
    monkeypatch.setenv("RUNSTEP_LOG__LEVEL", "debug")
    assert execute(["query"]) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "hunter2" not in printed


def test_the_number_that_a_command_returns_is_the_exit_code(query: ModuleType) -> None:
    query.query = lambda: 1  # type: ignore[attr-defined]
    assert execute(["query"]) == 1
    query.query = lambda: None  # type: ignore[attr-defined]
    assert execute(["query"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "my.toml", "query"],
        ["query", "--config", "my.toml"],
        ["query", "--config=my.toml"],
        ["--config=my.toml", "query"],
    ],
)
def test_the_configuration_file_may_stand_before_or_behind(query: ModuleType, arguments: list[str]) -> None:
    Path("my.toml").write_text("drain_timeout = 7\n")
    seen: list[float] = []
    query.query = lambda: seen.append(settings_from_context().drain_timeout)  # type: ignore[attr-defined]
    assert execute(arguments) == 0
    assert seen == [7]


def test_config_shows_values_and_sources(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__PASSWORD", "hunter2")
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", "a,b")
    assert execute(["config"]) == 0
    text = capsys.readouterr().out
    assert "kafka.topics = a,b  (RUNSTEP_KAFKA__TOPICS)" in text
    assert "clickhouse.password = ********  (RUNSTEP_CLICKHOUSE__PASSWORD)" in text
    assert "drain_timeout = 25.0  (default)" in text
    assert execute(["config", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["settings"]["kafka"]["topics"] == ["a", "b"]
    assert answer["sources"]["kafka.topics"] == "RUNSTEP_KAFKA__TOPICS"
    assert answer["sources"]["kafka.group_id"] == "default"
    assert "hunter2" not in json.dumps(answer)


def test_config_as_toml_can_be_read_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__PASSWORD", "hunter2")
    monkeypatch.setenv("RUNSTEP_BATCH__MAX_ROWS", "7")
    assert execute(["config", "--toml"]) == 0
    text = capsys.readouterr().out
    assert "hunter2" not in text
    assert "password" not in tomllib.loads(text)["clickhouse"]
    monkeypatch.delenv("RUNSTEP_BATCH__MAX_ROWS")
    Path("runstep.toml").write_text(text)
    assert execute(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["batch"]["max_rows"] == 7


def test_config_as_markdown_needs_no_valid_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_NONSENSE", "1")
    assert execute(["config", "--markdown"]) == 0
    assert "| `kafka.topics` | `RUNSTEP_KAFKA__TOPICS` |" in capsys.readouterr().out
    assert execute(["config"]) == 78
    assert capsys.readouterr().err.startswith("runstep: RUNSTEP_NONSENSE: unknown environment variable")


def test_check_without_services(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute(["check"]) == 0
    assert "all 7 checks passed" in capsys.readouterr().out
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", "")
    monkeypatch.setenv("RUNSTEP_BATCH__MAX_ROWS", "0")
    assert execute(["check"]) == 78
    assert capsys.readouterr().err == "runstep: RUNSTEP_BATCH__MAX_ROWS: batch.max_rows must be 1 or more, not '0'\n"
    assert execute(["check", "--json"]) == 78
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["checks"][0]["subject"] == "settings"


def test_check_of_services_that_are_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.3")
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://user:hunter2@127.0.0.1:1")
    assert execute(["check", "--live"]) == 69
    printed = capsys.readouterr()
    assert "bad  kafka  Kafka at 127.0.0.1:1: nothing listens there (connection refused)" in printed.out
    assert "bad  clickhouse http://127.0.0.1:1" in printed.out
    assert "2 of 9 checks failed" in printed.out
    assert printed.err == ""
    assert "hunter2" not in printed.out


def test_an_error_about_the_file_of_a_secret_is_printed_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("RUNSTEP_SECRETS_DIR", str(folder))
    (folder / "clickhouse__password").write_bytes(b"\xff")
    assert execute(["config"]) == 78
    file = folder / "clickhouse__password"
    assert capsys.readouterr().err == f"runstep: {file}: cannot be read: it is not UTF-8 text\n"
    file.write_text("hunter2 ")
    assert execute(["config"]) == 78
    said = capsys.readouterr().err
    assert said.startswith(f"runstep: {file}: must not begin or end with a blank: remove it")
    assert "hunter2" not in said
    monkeypatch.setenv("RUNSTEP_SECRETS_DIR", "nowhere")
    assert execute(["config"]) == 78
    assert (
        capsys.readouterr().err == "runstep: RUNSTEP_SECRETS_DIR: nowhere cannot be listed: No such file or directory\n"
    )
