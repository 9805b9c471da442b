"""What is read of processes and servers from outside: CPU and memory, members of a group, merges."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer

PROC: Final = Path("/proc")
QUIET_S: Final = 1.0
"""Seconds without a merge after which the server has come to rest."""
_REST_TIMEOUT_S: Final = 60.0
IDLE_S: Final = 3.0
"""Seconds for which idle servers are measured."""


def family(pid: int, proc: Path = PROC) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, int] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(_fields(stat.read_text())[1])
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def process_cpu(pid: int, proc: Path = PROC) -> float:
    """Return user and system time of a process so far, in seconds; an `OSError` if it has ended."""
    fields = _fields((proc / str(pid) / "stat").read_text())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int], proc: Path = PROC) -> float:
    """Return user and system time of processes so far; one that has ended counts nothing."""
    seconds = 0.0
    for pid in pids:
        with suppress(OSError):
            seconds += process_cpu(pid, proc)
    return seconds


def peak_mib(pids: Iterable[int], proc: Path = PROC) -> float:
    """Return the largest peak of resident memory among processes, in MiB."""
    peaks = [0]
    for pid in pids:
        with suppress(OSError):
            lines = (proc / str(pid) / "status").read_text().splitlines()
            peaks.extend(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return max(peaks) / 1024


def forget_peak(pid: int, proc: Path = PROC) -> None:
    """Let a process' peak of memory begin anew."""
    (proc / str(pid) / "clear_refs").write_text("5")


def _fields(stat: str) -> list[str]:
    """Return the fields of a stat file behind the name, which may hold blanks; the first is the state."""
    return stat.rpartition(")")[2].split()


def idle_cpu(server: ClickHouseServer, kafka: KafkaServer, interval: float) -> tuple[float, float]:
    """Return the CPU seconds a second of server and broker that have no work, and of asking the server for a count."""
    sides = ([server.process.pid], [kafka.process.pid])
    began, before = time.monotonic(), [cpu_seconds(side) for side in sides]
    while (seconds := time.monotonic() - began) < IDLE_S:
        server.query("SELECT count() FROM system.one")
        time.sleep(interval)
    spent = [cpu_seconds(side) - so_far for side, so_far in zip(sides, before, strict=True)]
    return spent[0] / seconds, spent[1] / seconds


def joined(admin: KafkaAdminClient, group: str) -> int:
    """Return how many members a group has, 0 while it is being divided or is not there."""
    try:
        described = admin.describe_groups([group])[group]
    except KafkaError:
        return 0
    return len(described["members"]) if described["group_state"] == "Stable" else 0


def wait_for_rest(server: ClickHouseServer, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when the server merges no more; what was inserted has then cost all that it costs."""
    until = time.monotonic() + _REST_TIMEOUT_S
    quiet_since = time.monotonic()
    while (now := time.monotonic()) - quiet_since < QUIET_S and now < until:
        if int(server.query("SELECT count() FROM system.merges")):
            quiet_since = now
        sleep(0.1)
