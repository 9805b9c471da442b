"""The workers of a daemon with `--workers`, as tests see them: by /status and by their processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.daemon import HTTP_OK, Daemon
from tests.support.oracle import status, until


def pids(daemon: Daemon) -> dict[str, int]:
    """Return the workers that run, by name."""
    return {worker["worker"]: worker["pid"] for worker in status(daemon)["workers"] if worker["pid"] is not None}


def ends(pid: int) -> Callable[[], bool]:
    """Return what says whether a process has ended; a pid that was given to another one is not mistaken for it."""
    stat = Path(f"/proc/{pid}/cmdline")
    command_line = stat.read_bytes()
    assert b"pipeline.workers.process" in command_line

    def ended() -> bool:
        try:
            return stat.read_bytes() != command_line
        except OSError:
            return True

    return ended


def reporting(shown: Callable[[], dict[str, Any]]) -> dict[str, int]:
    """Wait until both workers have reported to what shows the status, and return their pids."""
    found: dict[str, int] = {}

    def both() -> bool:
        found.clear()
        found.update({worker["worker"]: worker["pid"] for worker in shown()["workers"] if "causes" in worker})
        return len(found) == 2

    until(both, lambda: f"the workers do not report: {shown()}")
    return found


def wait_for_process(daemon: Daemon, name: str) -> int:
    """Wait until the process of a worker was started, and return its pid."""
    until(lambda: daemon.get("/status")[0] == HTTP_OK and name in pids(daemon), daemon.log)
    return pids(daemon)[name]


def wait_for_workers(daemon: Daemon) -> dict[str, int]:
    """Wait until both workers have reported, and return their pids."""
    until(lambda: daemon.get("/status")[0] == HTTP_OK, daemon.log)
    return reporting(lambda: status(daemon))


def shares(daemon: Daemon) -> dict[str, set[str]]:
    """Return the partitions of each worker, by its name."""
    return {worker["worker"]: set(worker.get("partitions", ())) for worker in status(daemon)["workers"]}
