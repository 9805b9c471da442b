"""The operations guide: each command of runstep in it is tried by a test, the one that is needed most here."""

import re
import shlex
from itertools import islice
from pathlib import Path

import pytest

from pipeline.config.names import all_names, file_keys, sections, variable
from pipeline.metrics import catalogue
from tests.support.daemon import running_daemon
from tests.support.guide import GUIDE, HERE, Shell, blocks
from tests.support.oracle import Load, Truth, place, repeating, status, traffic
from tests.support.paths import ROOT
from tests.support.programs import accept_command

RUN = re.compile(r'shell\.run\(\s*"([\w-]+)"')
NO_METRICS = {"runstep_migrator", "runstep_writer", "runstep_reader"}


def test_each_block_of_the_guide_is_tried_by_a_test() -> None:
    files = [
        path for folder in ("acceptance", "scenarios") for path in (ROOT / "tests" / folder).glob("test_operations*")
    ]
    tried = {name for path in files for name in RUN.findall(path.read_text())}
    assert tried == blocks().keys() - {HERE}


def test_the_guide_has_no_commands_outside_its_named_blocks() -> None:
    fences = [line for line in GUIDE.read_text().splitlines() if line.startswith("```") and line != "```"]
    assert [line for line in fences if not line.startswith(("```sh ", "```text"))] == []


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(runstep [a-z][^`]*)`", GUIDE.read_text()))))
def test_each_command_in_a_sentence_of_the_guide_is_one_of_ours(command: str) -> None:
    accept_command(shlex.split(command)[1:])


def test_each_setting_and_metric_that_the_guide_names_exists() -> None:
    text = GUIDE.read_text()
    variables = {variable(key) for key in all_names()} | {"RUNSTEP_SECRETS_DIR"}
    assert set(re.findall(r"\bRUNSTEP_[A-Z_]*[A-Z]", text)) <= variables
    keys = {key for key in re.findall(r"`((?:\w+)\.(?:\w+))[` ]", text) if key.split(".")[0] in sections()}
    assert keys <= all_names().keys() | file_keys().keys()
    assert set(re.findall(r"`(runstep_\w+)`", text)) <= {spec.name for spec in catalogue.SPECS} | NO_METRICS


def test_a_replay_leaves_the_rows_as_they_are(kafka, clickhouse, tmp_path: Path) -> None:
    with place(kafka, clickhouse) as there, Load(there, islice(repeating(traffic(90), 90), 3_000)) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there) as daemon:
            load.finish()
            daemon.wait_until_accounted()
            assert "Stable" in shell.run("rewind", fails=True, SINCE="2026-01-01T00:00:00"), "a group that is at work"
            daemon.stop()
            assert "'offset': 0" in shell.run("rewind", SINCE="2026-01-01T00:00:00")
            daemon.start()
            daemon.wait_until_accounted()
            truth = Truth(there, load.produced)
            assert sum(status(daemon)["counts"].values()) == truth.records, "what is read again is counted again"
            assert f"all {truth.records:,} offsets are accounted for" in shell.run("audit")
        truth.check_tables()
