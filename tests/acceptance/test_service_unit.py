"""The real daemon as a host runs it: under a service manager, and with the image's health check.

Kafka and ClickHouse are away, which is no matter to either.
"""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.process import free_port
from tests.support.daemon import HTTP_OK, running_daemon
from tests.support.fakes.service_manager import ServiceManager
from tests.support.paths import ROOT


@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_manager_hears_of_the_start_of_every_change_and_of_the_end(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    away = (KafkaAddress(f"127.0.0.1:{free_port()}"), ClickHouseAddress(f"http://127.0.0.1:{free_port()}"))
    with (
        ServiceManager(str(tmp_path / "notify")) as manager,
        running_daemon(*away, "steps", "steps", wait=False, workers=workers) as daemon,
    ):
        received = manager.next()
        while "READY=1" not in received:
            received = manager.next()
        assert daemon.get("/healthz")[0] == HTTP_OK
        assert health_check(daemon.address) == 0
        while not any(line.startswith("STATUS=waiting: ") for line in received):
            received = manager.next()
        while "WATCHDOG=1" not in received:
            received = manager.next()
        daemon.send(signal.SIGTERM)
        while "STOPPING=1" not in received:
            received = manager.next()
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in received)
        while "STATUS=drained" not in received:
            received = manager.next()
        assert daemon.wait_until_ended() == 0
        assert health_check(daemon.address) == 1


def health_check(address: str) -> int:
    """Run the image's own check against a daemon that listens elsewhere, and return its exit code."""
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.+\])$", dockerfile, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1].replace("9464", address.rpartition(":")[2]))
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], stderr=subprocess.DEVNULL, check=False).returncode
