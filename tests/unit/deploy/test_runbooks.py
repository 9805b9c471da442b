"""The runbooks: a page for each alert, and every command, panel, setting and name in them exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer
import yaml

from deploy.prometheus import build
from pipeline.cli import COMMANDS, app, load_command
from pipeline.clickhouse.migrations import connected, migrate
from pipeline.config import ClickHouseSettings, Settings
from pipeline.errors import ErrorClass
from pipeline.metrics.catalogue import SPECS
from pipeline.records import Outcome, Reason
from pipeline.tools.queries import reports
from schemas.row import LEDGER_COLUMNS, STEP_COLUMNS
from schemas.vocabulary import ANOMALIES, ERROR_CATEGORIES, STATUSES, STEP_TYPES
from tests.servers.addresses import ClickHouseAddress
from tests.support.dashboards import FILES, load, panels
from tests.support.paths import DEPLOY
from tests.support.promql import misnamed

FOLDER = DEPLOY / "runbooks"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"}
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/runstep.rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = frozenset(rule["record"] for rule in RULES if "record" in rule)
SECTIONS = ["What it means", "How to confirm", "What to do", "When it is over", "What is not at risk"]
TITLES = {panel["title"] for path in FILES for panel in panels(load(path))}
BOARDS = {load(path)["title"] for path in FILES}
METRICS = {spec.name for spec in SPECS}
USERS = {"runstep_writer", "runstep_reader", "runstep_migrator"}
TABLES = {"run_steps", "run_steps_current", "run_step_ledger"}
LOG_EVENTS = {
    "offsets_lost",
    "thread_stalled",
    "stacks_logged",
    "partition_halted",
    "commit_deferred",
    "kafka_degraded",
}
# Words of the daemon, and keys of its answers and log lines.
WORDS = {
    *ANOMALIES, *Reason, *Outcome, *ErrorClass, *ERROR_CATEGORIES, *STATUSES, *STEP_TYPES, *STEP_COLUMNS,
    *LEDGER_COLUMNS, *METRICS, *USERS, *TABLES, *LOG_EVENTS, "last_error",
}  # fmt: skip
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
every_text = pytest.mark.parametrize("page", [*PAGES.values(), INDEX], ids=[*PAGES, "README"])


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """Return the page without its fenced blocks, each paragraph on one line."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL))


def spans(page: str) -> list[str]:
    """Return the texts between backticks."""
    return re.findall(r"`([^`]+)`", prose(page))


def commands(page: str, start: str) -> Iterator[list[str]]:
    """Yield the command lines that begin with these words, as lists."""
    for line in (*spans(page), *(line for block in blocks(page, "sh") for line in block.splitlines())):
        if line.startswith(start):
            yield shlex.split(line.removeprefix(start))


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    assert set(PAGES) == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_sections_in_their_order(name: str) -> None:
    assert PAGES[name].startswith(f"# {name}\n\nSeverity: ")
    parts = re.split(r"^## (.+)$", PAGES[name], flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    assert all(body.strip() for body in parts[2::2])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_how_bad_it_is_and_whose(name: str) -> None:
    rules = [rule["labels"] for rule in ALERTS if rule["alert"] == name]
    severity = " or ".join(sorted({labels["severity"] for labels in rules}))
    (team,) = {labels["team"] for labels in rules}
    assert f"\nSeverity: {severity}. Team: {team}.\n" in PAGES[name]
    assert len(re.findall(rf"^\| \[{name}\]\({name}\.md\) \| {severity} \| .+ \|$", INDEX, re.MULTILINE)) == 1


@every_text
def test_links_lead_to_pages(page: str) -> None:
    for text, target in re.findall(r"\[(\w+)\]\(([^)]+)\)", page):
        assert target == f"{text}.md"
        assert text in PAGES


@every_text
def test_commands_exist_with_their_options(page: str) -> None:
    known = reports()
    for words in commands(page, "runstep "):
        command: Any = typer.main.get_command(app)
        if words and not words[0].startswith("-"):
            assert words[0] in COMMANDS
            command = load_command(words.pop(0))
        if words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options
        if "--report" in words:
            assert words[words.index("--report") + 1] in known


@every_text
def test_the_builder_takes_the_options_that_are_named(page: str, tmp_path: Path) -> None:
    for words in commands(page, "python -m deploy.prometheus.build "):
        assert build.main([*words, "--output", str(tmp_path / "rules.yml")]) == 0
    for option in (span for span in spans(page) if re.fullmatch(r"--[\w-]+-seconds", span)):
        assert option.removeprefix("--") in build.DEFAULTS


@every_text
def test_settings_exist(page: str) -> None:
    settings = Settings()
    for span in spans(page):
        section, _, key = span.partition(".")
        if section in Settings.model_fields and re.fullmatch(r"\w+", key):
            assert key in type(getattr(settings, section)).model_fields, span


@every_text
def test_panels_and_boards_exist(page: str) -> None:
    without_bullets = re.sub(r"^\* ", "", page, flags=re.MULTILINE)
    without_code = re.sub(r"`[^`]*`", "", prose(without_bullets))
    assert set(re.findall(r"\*([^*]+)\*", without_code)) - TITLES == set()
    assert set(re.findall(r'board "([^"]+)"', prose(page))) <= BOARDS


@each_page
def test_a_page_names_a_panel_or_a_command_to_confirm_it(page: str) -> None:
    confirm = page.partition("## How to confirm")[2].partition("## What to do")[0]
    assert "```" in confirm
    assert re.search(r"\*[A-Z]", confirm)


@every_text
def test_words_of_the_daemon_are_words_of_the_daemon(page: str) -> None:
    named = {span for span in spans(page) if re.fullmatch(r"[a-z0-9]+(?:_[a-z0-9]+)+", span)}
    assert named - WORDS == set()
    assert set(re.findall(r"\brunstep_\w+", page)) - METRICS - USERS - _parts_of_recorded() == set()


@each_page
def test_promql_reads_what_there_is(page: str) -> None:
    for block in blocks(page, "promql"):
        parsed = promql_parser.parse(block)
        assert list(misnamed(parsed, RECORDED | {"process_start_time_seconds"})) == []


def test_sql_runs_on_the_tables(clickhouse: ClickHouseAddress, database: str) -> None:
    settings = ClickHouseSettings(url=clickhouse.url, database=database)
    with connected(settings) as client:
        migrate(client, settings)
    statements = [block for page in PAGES.values() for block in blocks(page, "sql")]
    assert statements
    for statement in statements:
        assert clickhouse.query(statement, database=database) == ""


def _parts_of_recorded() -> set[str]:
    return {part for name in RECORDED for part in name.split(":")}
