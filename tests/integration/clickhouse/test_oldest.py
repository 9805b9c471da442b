"""The oldest supported ClickHouse: all that runs on an embedded engine runs on that one, and its answers are the same.

Each test starts processes with the old engine in place of the installed one.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from pipeline.clickhouse import server_version
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.oldest_clickhouse import oldest_clickhouse
from tests.support.daemon import Daemon, environment
from tests.support.delivery import Sent, produce
from tests.support.expectations import COLUMNS, OUTCOMES, TIMES, Columns, examples, observed
from tests.support.paths import ROOT

# Before 26.7 the server writes both tables at once: which of them has rows after a fault cannot be said.
EMBEDDED: Final = "embedded and not leaves_the_ledger_empty or test_queries_edges or data_directory"
FILES: Final = {
    "contracts": ("tests/contract/test_schema.py", "tests/contract/test_sink.py"),
    "checks": ("tests/integration/tools/test_check.py", "tests/integration/tools/test_doctor_clickhouse.py"),
    "reports": tuple(
        f"tests/integration/tools/test_{name}.py" for name in ("queries", "queries_edges", "query", "html_report")
    ),
}

# Times in milliseconds, since each form of output writes them in its own way.
SELECTED: Final = ", ".join(f"toUnixTimestamp64Milli({name}) AS {name}" if name in TIMES else name for name in COLUMNS)

Variables: TypeAlias = Mapping[str, str]


@pytest.fixture(scope="module")
def oldest() -> Variables:
    """What makes a process use the old engine."""
    return {"PYTHONPATH": os.pathsep.join((str(oldest_clickhouse()), str(ROOT)))}


def python(
    *arguments: str, variables: Variables | None = None, folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RUNSTEP_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT)} | dict(variables or {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_what_holds_on_the_newest_engine_holds_there(
    oldest: Variables, kafka: KafkaAddress, clickhouse: ClickHouseAddress, files: tuple[str, ...]
) -> None:
    servers = {"RUNSTEP_TEST_KAFKA": kafka.bootstrap, "RUNSTEP_TEST_CLICKHOUSE": clickhouse.url}
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", EMBEDDED)
    done = python(*command, variables={**oldest, **servers})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.timeout(600)
def test_every_report_view_page_and_panel_answers_as_on_the_newest(oldest: Variables, tmp_path: Path) -> None:
    old, new = (
        json.loads(python("-m", "tests.support.every_answer", str(tmp_path / name), variables=variables).stdout)
        for name, variables in (("old", oldest), ("new", {}))
    )
    assert server_version.parsed(old["version"]) == server_version.OLDEST
    assert not server_version.is_older(new["version"], server_version.ORDERED_VIEWS)
    assert len(new["answers"]) > 100
    assert [name for name, found in new["answers"].items() if old["answers"][name] != found] == []


def key(row: Columns) -> tuple[str, str]:
    return row["run_id"], row["step_id"]


class Place:
    """A topic, its dead letters and an embedded database of the old engine, and `runstep` there."""

    def __init__(self, kafka: KafkaAddress, topic: str, folder: Path, oldest: Variables) -> None:
        self.kafka = kafka
        self.topic = topic
        self.folder = folder
        # The address of the server is not used: the setting says otherwise.
        settings = {"clickhouse__url": f"chdb:{folder / 'data'}"}
        address = ClickHouseAddress("http://127.0.0.1:1")
        self.environment = environment(kafka, address, topic, "runsteps", **settings) | oldest

    def runstep(self, *arguments: str, code: int = 0) -> str:
        done = python("-m", "pipeline.cli", *arguments, variables=self.environment, folder=self.folder)
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.runstep("query", sql, "--format", "jsonl").splitlines()]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("kafka_admin")
def test_the_daemon_and_its_tools_work_there(oldest: Variables, kafka: KafkaAddress, tmp_path: Path) -> None:
    place = Place(kafka, f"oldest-{uuid.uuid4().hex[:8]}", tmp_path, oldest)
    place.runstep("migrate", "--topics")
    sent = list(examples())
    offsets = produce(kafka, place.topic, [Sent(one.name, one.value) for one in sent])
    daemon = Daemon(kafka, place.topic, place.environment)
    try:
        daemon.start()
        daemon.wait_until_accounted(120)
        daemon.stop()
    finally:
        daemon.close()
    place.runstep("check", "--live")
    place.runstep("doctor")
    place.runstep("audit")
    ledger = place.rows("SELECT kafka_offset, step_index, outcome, reason FROM run_step_ledger FINAL")
    assert {(int(row["kafka_offset"]), row["step_index"]): (row["outcome"], row["reason"]) for row in ledger} == {
        (offsets[one.name], index): (OUTCOMES[reason], reason)
        for one in sent
        for index, reason in enumerate(one.reasons)
    }
    wanted = {key(row): row for one in sent for row in one.verdicts if isinstance(row, dict)}
    assert {key(row): observed(row) for row in place.rows(f"SELECT {SELECTED} FROM run_steps_current")} == wanted  # noqa: S608 - names of columns
