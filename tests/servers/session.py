"""One server of each kind for a whole test run, also when pytest-xdist runs it in several workers.

The first worker that needs a server starts it, under a file lock; the others read its address from the run's folder.
Its owner is the controller, so it outlives the worker and ends, with its data, when the run does, be it by `kill -9`.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.servers.server import Home, Server


@dataclass(frozen=True)
class Run:
    """A test run: the folder that its processes share, and the pid of its controller."""

    folder: Path
    owner: int

    @classmethod
    def begin(cls) -> Self:
        """Begin a run that this process controls."""
        return cls(Path(tempfile.mkdtemp(prefix="runstep-tests-")), os.getpid())

    def shared(
        self, name: str, make: Callable[[Home], Server], describe: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the description of the run's server of this name; start the server if no other test has.

        Args:
            name: of the server, unique in the run.
            make: builds the server in the given home, not started.
            describe: what the other processes need to know of the running server, as JSON values.
        """
        record = self.folder / f"{name}.json"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                server = make(Home(self.folder / name, self.owner, self.folder))
                server.start()
                record.write_text(json.dumps({"guard": server.process.guard_pid, "server": describe(server)}))
        described: dict[str, Any] = json.loads(record.read_text())["server"]
        return described

    def end(self) -> None:
        """End the run's servers and remove its folder; called by the controller."""
        for record in self.folder.glob("*.json"):
            _end_guard(json.loads(record.read_text())["guard"])
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_guard(pid: int) -> None:
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(10_000)
        finally:
            os.close(handle)
