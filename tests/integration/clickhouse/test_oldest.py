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
from typing import Final, TypeAlias

import pytest

from pipeline.clickhouse import server_version
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.oldest_clickhouse import oldest_clickhouse
from tests.support.daemon import environment
from tests.support.paths import ROOT
from tests.support.place import Place

# Before 26.7 the server writes both tables at once: which of them has rows after a fault cannot be said.
# The test that drops a view does not end on the embedded engine of 25.8; why is not known yet.
IN_ORDER: Final = "leaves_the_ledger_empty"
VIEW_IS_GONE: Final = "view_is_gone"
OTHERS: Final = "test_queries_edges or data_directory or no_view_is_quadratic"
EMBEDDED: Final = f"embedded and not {IN_ORDER} and not {VIEW_IS_GONE} or {OTHERS}"
FILES: Final = {
    "contracts": ("tests/contract/test_schema.py", "tests/contract/test_sink.py"),
    "checks": ("tests/integration/tools/test_check.py", "tests/integration/tools/test_doctor_clickhouse.py"),
    "reports": tuple(
        f"tests/integration/tools/test_{name}.py"
        for name in ("queries", "queries_costs", "queries_edges", "query", "html_report")
    ),
}

Variables: TypeAlias = Mapping[str, str]


@pytest.fixture(scope="module")
def oldest() -> Variables:
    """What makes a process use the old engine."""
    return {"PYTHONPATH": os.pathsep.join((str(oldest_clickhouse()), str(ROOT)))}


def python(*arguments: str, variables: Variables) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RUNSTEP_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=inherited | {"PYTHONPATH": str(ROOT)} | dict(variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(files, id=name, marks=() if name == "contracts" else pytest.mark.chaos)
        for name, files in FILES.items()
    ],
)
def test_what_holds_on_the_newest_engine_holds_there(
    oldest: Variables, kafka: KafkaAddress, clickhouse: ClickHouseAddress, files: tuple[str, ...]
) -> None:
    servers = {"RUNSTEP_TEST_KAFKA": kafka.bootstrap, "RUNSTEP_TEST_CLICKHOUSE": clickhouse.url}
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", EMBEDDED)
    done = python(*command, variables={**oldest, **servers})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.chaos
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


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_the_daemon_and_its_tools_work_there(oldest: Variables, kafka: KafkaAddress, tmp_path: Path) -> None:
    topic = f"oldest-{uuid.uuid4().hex[:8]}"
    # The setting wins over the address, which is not used.
    settings = {"clickhouse__url": f"chdb:{tmp_path / 'data'}"}
    variables = environment(kafka, ClickHouseAddress("http://127.0.0.1:1"), topic, "runsteps", **settings) | dict(
        oldest
    )
    place = Place(kafka, topic, variables, tmp_path)
    place.runstep("migrate", "--topics")
    place.deliver_all_examples()
    for command in (("check", "--live"), ("doctor",), ("audit",)):
        place.runstep(*command)
