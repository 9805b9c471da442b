"""The folder that keeps what was fetched for the test servers, over all runs and clones."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ServerUnavailable(RuntimeError):
    """A test server cannot be had here; the message names cause and fix."""


def cache_dir() -> Path:
    """Name the folder that keeps what was fetched: `RUNSTEP_TEST_CACHE`, else the user's cache.

    The user's and not the project's, since the ClickHouse library alone has 540 MB and every clone needs the same one.
    """
    given = os.environ.get("RUNSTEP_TEST_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(given).absolute() if given else home / "runstep" / "servers"
    path.mkdir(parents=True, exist_ok=True)
    return path


def progress(text: str) -> None:
    """Print to standard error what takes its time."""
    print(f"test servers: {text}", file=sys.stderr, flush=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock of this name: parallel runs wait for the first one instead of fetching twice."""
    with (cache_dir() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
