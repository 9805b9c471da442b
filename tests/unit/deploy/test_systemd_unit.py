"""The systemd unit, held against systemd-analyze and against the daemon; no service manager runs."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from prometheus_client import ProcessCollector

from pipeline.config import Settings, load
from pipeline.daemon.systemd import LOOK_INTERVAL_S
from tests.support.paths import ROOT
from tests.support.programs import accept_command, tool

UNIT = ROOT / "deploy" / "systemd" / "runstep.service"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_daemon_is_given_time_to_drain() -> None:
    drain = Settings().drain_timeout
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > drain


def test_versions_are_those_of_the_project() -> None:
    assert f"runstep-{VERSION}-py3" in UNIT.read_text(encoding="utf-8")


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8")))
    analyze = tool("systemd-analyze")
    verified = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    # 15 means an exposure of 1.5 out of 10; a unit without any hardening has 9.6.
    exposed = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposed.returncode == 0, exposed.stdout[-200:]


def test_the_unit_accepts_the_daemons_notifications() -> None:
    """The unit tolerates two missed heartbeats; datagrams need AF_UNIX, and only the daemon may send them."""
    unit = dict(re.findall(r"^(\w+)=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE))
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert int(unit["WatchdogSec"]) >= 3 * LOOK_INTERVAL_S
    assert "AF_UNIX" in unit["RestrictAddressFamilies"].split()
    assert unit["Restart"] == "on-failure"


def test_the_unit_leaves_the_daemon_what_its_process_metrics_are_read_from(tmp_path: Path) -> None:
    """Without /proc/stat, as ProcSubset=pid has it, there are none: an alert and three panels would be empty."""
    unit = dict(re.findall(r"^(\w+)=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE))
    assert unit.get("ProcSubset", "all") == "all"
    assert ProcessCollector(registry=None).collect()
    assert not ProcessCollector(registry=None, proc=str(tmp_path)).collect()


def test_the_units_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = UNIT.read_text(encoding="utf-8")
    environ = dict(re.findall(r"^Environment=(RUNSTEP_\w+)=(.+)$", text, re.MULTILINE))
    for name in re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE):
        (tmp_path / name).write_text("pw")
    settings = load(environ={key: value.replace("%d", str(tmp_path)) for key, value in environ.items()})
    assert settings.clickhouse.password is not None
    started = re.search(r"^ExecStart=\S+/runstep (.+)$", text, re.MULTILINE)
    assert started is not None
    accept_command(shlex.split(started[1]))
