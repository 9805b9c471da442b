"""The environments of the systems that are Python packages of others: one each, since their pins exclude each other."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress

REQUIREMENTS: Final[Mapping[str, Sequence[str]]] = {
    "quix": ("quixstreams==3.28.1", "clickhouse-connect>=1.12,<2"),
    "arroyo": ("sentry-arroyo==2.48.0", "pydantic>=2.11", "clickhouse-connect>=1.12,<2"),
}


@cache
def python(name: str) -> Path:
    """Return the interpreter of a system's environment, made on first use; `ServerUnavailable` where it cannot be."""
    wanted = "\n".join((sys.version, *REQUIREMENTS[name]))
    folder = cache_dir() / f"peer-{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    with locked(f"peer-{name}"):
        if not folder.exists():
            _make(name, folder)
    return folder / "bin" / "python"


def _make(name: str, folder: Path) -> None:
    progress(f"installing {', '.join(REQUIREMENTS[name])} into an environment of its own")
    # An environment cannot be moved, so it is made in its place, and removed if it is not finished.
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *REQUIREMENTS[name]]
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, text=True)
        subprocess.run([folder / "bin" / "python", *install], check=True, capture_output=True, text=True)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, subprocess.CalledProcessError):
            raise ServerUnavailable(f"cannot install {name}: {error.stderr.strip().splitlines()[-1:]}") from error
        raise
