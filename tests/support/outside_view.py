"""Looks at a scenario from the outside while it runs: commits against the ledger, memory, liveness."""

import json
import re
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from pipeline.errors import SourceUnavailable
from pipeline.kafka.client import connect
from tests.servers.addresses import ClickHouseRefused
from tests.support.daemon import HTTP_OK, Daemon
from tests.support.group_offsets import group_offsets
from tests.support.oracle import Origin, Place, status, until

INTERVAL: Final = 0.2
MEGABYTE: Final = 1 << 20
_POLLS_AT_REST: Final = 5


class Commit(NamedTuple):
    """What was seen at one moment: the partition's committed offset, and how many offsets below it the ledger has."""

    partition: int
    committed: int
    in_ledger: int


class Watch:
    """A thread that looks until it is closed; what it saw is for the judge.

    Attributes:
        commits: never ahead of the ledger, or something was committed that could have been lost.
        ill: what /healthz said when it was not 200.
        memory: process to the bytes it had when it had done all it does for a first time, and the most it ever had.
    """

    def __init__(self, there: Place) -> None:
        self._there = there
        self._members: list[Daemon] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.commits: list[Commit] = []
        self.ill: list[str] = []
        self.memory: dict[int, tuple[int, int]] = {}

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._thread.join(30)

    def add(self, member: Daemon) -> None:
        """Look at this one, too."""
        self._members.append(member)

    def ahead(self, origins: Iterable[Origin]) -> list[Commit]:
        """Return the commits that were ahead of the ledger.

        Args:
            origins: of all records there are; offsets may have gaps.
        """
        offsets: dict[int, list[int]] = defaultdict(list)
        for partition, offset in sorted(set(origins)):
            offsets[partition].append(offset)
        return [seen for seen in self.commits if bisect_left(offsets[seen.partition], seen.committed) > seen.in_ledger]

    def grown(self) -> int:
        """Return the bytes by which a process has grown at most."""
        return max((most - first for first, most in self.memory.values()), default=0)

    def _look(self) -> None:
        while not self._closed.is_set():
            # A server may be away, which is what is being tested; a client of its own, since one that has seen a broker
            # die may keep away from it.
            with (
                suppress(KafkaError, SourceUnavailable, OSError, ClickHouseRefused, ValueError),
                closing(connect(KafkaAdminClient, bootstrap_servers=[self._there.kafka.bootstrap])) as admin,
            ):
                while not self._closed.wait(INTERVAL):
                    self._look_at_members()
                    self._look_at_commits(admin)
            self._closed.wait(INTERVAL)

    def _look_at_members(self) -> None:
        for member in list(self._members):
            with suppress(AssertionError, OSError, ValueError):
                pid, now = member.pid, resident(member.pid)
                code, text = member.get("/healthz")
                if code not in {HTTP_OK, 0}:
                    self.ill.append(text)
                if pid in self.memory or any(status(member)["counts"].values()):
                    first, most = self.memory.get(pid, (now, now))
                    self.memory[pid] = first, max(most, now)

    def _look_at_commits(self, admin: KafkaAdminClient) -> None:
        for group in {member.group for member in self._members}:
            found = group_offsets(admin, group)
            committed = {place.partition: offset.offset for place, offset in found.items() if offset.offset > 0}
            if committed:
                self.commits += self._beside_ledger(committed)

    def _beside_ledger(self, committed: dict[int, int]) -> list[Commit]:
        below = f"transform(kafka_partition, {list(committed)}, {list(committed.values())}, 0)"
        answer = self._there.clickhouse.query(
            f"SELECT kafka_partition, uniqExactIf(kafka_offset, kafka_offset < {below}) "  # noqa: S608 - numbers
            f"FROM {self._there.database}.run_step_ledger GROUP BY kafka_partition FORMAT TSV"
        )
        lines = (line.split("\t") for line in answer.splitlines())
        rows = {int(partition): int(count) for partition, count in lines}
        return [Commit(partition, offset, rows.get(partition, 0)) for partition, offset in committed.items()]


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has; 0 for one that has just ended."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def position_at_rest(daemon: Daemon) -> int:
    """Wait until a daemon has read nothing new over five polls; return the sum of its positions."""
    same, polled, position = 0, 0.0, -1

    def rests() -> bool:
        nonlocal same, polled, position
        now = daemon.metrics()["runstep_last_poll_timestamp_seconds", frozenset()]
        if now != polled:
            places = json.loads(daemon.get("/status")[1])["partitions"].values()
            read = sum(place["position"] or 0 for place in places)
            same = same + 1 if read == position else 0
            polled, position = now, read
        return same >= _POLLS_AT_REST

    until(rests, daemon.log)
    return position
