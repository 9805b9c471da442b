"""What all test servers have in common: a home, a life cycle, and an end that nothing can prevent."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.process import ServerProcess


@dataclass(frozen=True)
class Home:
    """Where a server keeps its data, whose end ends it, and what is removed then."""

    folder: Path
    owner: int
    remove: Path

    @classmethod
    def temporary(cls, name: str) -> Self:
        """Make a home that lives as long as this process at most."""
        folder = Path(tempfile.mkdtemp(prefix=f"runstep-{name}-"))
        # The guard sees to a violent end, but only of a server that runs; this covers one that was stopped.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return cls(folder, os.getpid(), folder)


class Server:
    """A real server: it keeps its ports and its data over every stop, kill and restart, until it is closed.

    A subclass says how to start it (`_command`) and when it is ready (`_ready`).
    """

    name = "server"

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or Home.temporary(self.name)
        self.folder = self.home.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server's process exists, paused or not."""
        return self._process is not None and self._process.running

    @property
    def process(self) -> ServerProcess:
        """The running process; a `RuntimeError` when it was never started or has been stopped."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process

    def start(self) -> Self:
        """Start the server, on the ports and data it had before, and wait until it answers."""
        if self.running:
            return self
        self._release(signal.SIGKILL)
        self._process = ServerProcess(self._command(), self.home.folder, self.home.owner, self.home.remove)
        try:
            self._process.wait_until(self._ready, self.name)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the server cleanly (SIGTERM); the data stays."""
        self._release(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); the data stays."""
        self._release(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        self.process.freeze()

    def resume(self) -> None:
        """Let a frozen server continue (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def restart(self) -> Self:
        """Stop cleanly and start again."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        self.kill()
        shutil.rmtree(self.home.remove, ignore_errors=True)

    def _release(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(number)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file."""
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
