"""The operations guide's upgrade: tables first, then daemons one by one, then back, under load."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas.ddl import shipped
from tests.support.daemon import Daemon, running_daemon
from tests.support.guide import Shell
from tests.support.oracle import Load, Truth, drained, place, repeating, status, summed, traffic, until
from tests.support.paths import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

ADDED = "ALTER TABLE ${database}.run_steps${local}${on_cluster} ADD COLUMN IF NOT EXISTS priority UInt8;\n"


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """Return a copy of this version that has one migration more."""
    tree = tmp_path / "next"
    for package in ("pipeline", "schemas"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "schemas" / "clickhouse" / f"{len(shipped()) + 1:04d}_priority.sql").write_text(ADDED)
    return tree


def replaced(member: Daemon, tree: Path) -> str:
    """Drain a member and start it again from another tree; return its last numbers."""
    last = drained(member)
    member._environment = {**member._environment, "PYTHONPATH": str(tree)}
    member.start()
    return last


def test_an_upgrade_and_the_way_back_lose_no_row_and_no_number(kafka, clickhouse, next_version: Path, tmp_path: Path):
    settings: dict[str, Any] = {"http__final_scrape": 20}
    with place(kafka, clickhouse) as there, Load(there, repeating(traffic(70), 70), rate=200) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there, **settings) as first, running_daemon(*there, **settings) as second:
            members, last = (first, second), []
            load.go_on(500)
            looked = shell.run("upgrade-look", PYTHONPATH=str(next_version))
            assert "pending" in looked
            assert "ADD COLUMN IF NOT EXISTS priority" in looked
            assert "_priority" in shell.run("make-tables", PYTHONPATH=str(next_version))
            load.go_on(500)
            for tree in (next_version, ROOT):
                for member in members:
                    last.append(replaced(member, tree))
                    until(lambda: [len(status(one)["partitions"]) for one in members] == [2, 2], "not shared evenly")
                    load.go_on(300)
            refused = shell.run("make-tables", fails=True)
            assert "priority" in refused, "the old version's migrate does not touch newer tables"
            load.stop()
            first.wait_until_accounted()
            shell.run("audit")
            last += [drained(member) for member in members]
        truth = Truth(there, load.produced)
        truth.check_tables()
        assert truth.difference(summed(last)) == ""
