"""Programs that no Python package brings: the installed one, else Debian's package unpacked into the cache.

Needs no root: `apt-get download` does not install, and where the machine has no package lists, such as in a container,
they are fetched for the cache. apt checks every file against the signed lists.
"""

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress

_TIMEOUT_S: Final = 300
_APT: Final = (
    *("apt-get", "-q"),
    *("-o", "Acquire::Retries=2"),
    *("-o", "Acquire::http::Timeout=20"),
    *("-o", "Acquire::https::Timeout=20"),
)


class _Package(NamedTuple):
    name: str
    oldest: tuple[int, ...]


PACKAGES: Final = {
    "prometheus": _Package("prometheus", (2, 42)),
    "promtool": _Package("prometheus", (2, 42)),
    # Components of kustomize came with 1.21.
    "kubectl": _Package("kubernetes-client", (1, 21)),
}


def program(name: str) -> str:
    """Return the path of `prometheus`, `promtool` or `kubectl`.

    Raises:
        ServerUnavailable: it cannot be had here; the message names cause and fix.
    """
    installed = shutil.which(name)
    if installed is not None:
        return installed
    package = PACKAGES[name]
    fetched = _fetched(package)
    if isinstance(fetched, Path):
        return str(fetched / name)
    oldest = ".".join(map(str, package.oldest))
    raise ServerUnavailable(f"{name} is not installed, and {fetched}; install {name} {oldest} or later")


# A failure is remembered, too: a hundred tests that need the program do not ask the network a hundred times.
@cache
def _fetched(package: _Package) -> Path | str:
    """Return the folder with a package's programs, or why there is none."""
    with locked(package.name):
        folder = cache_dir() / f"debian-{package.name}"
        if folder.exists():
            return folder
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            return "there is no apt-get to fetch Debian's package"
        progress(f"fetching Debian's package {package.name}, to unpack it without installing it")
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=f"{folder.name}.") as work:
            return _unpacked(package, Path(work), folder)


def _unpacked(package: _Package, work: Path, folder: Path) -> Path | str:
    try:
        archive = _downloaded(package.name, work)
        if _version(archive) < package.oldest:
            return f"Debian's {archive.name} is too old"
        _run(["dpkg-deb", "--extract", str(archive), str(work / "tree")], work)
    except subprocess.TimeoutExpired:
        return f"Debian's package {package.name} did not arrive within {_TIMEOUT_S} s"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines() or [f"{error.cmd[0]} ended with {error.returncode}"]
        cause = next((line.removeprefix("E: ") for line in lines if line.startswith("E: ")), lines[-1])
        return f"Debian's package {package.name} cannot be had ({cause})"
    (work / "tree" / "usr" / "bin").rename(folder)
    return folder


def _downloaded(package: str, work: Path) -> Path:
    """Download a package; with lists of the cache's own where the machine's do not have it."""
    download = [*_APT, "download", package]
    try:
        _run(download, work)
    except subprocess.CalledProcessError as error:
        own = {"Dir::State::lists": work / "lists", "Dir::Cache": work / "cache"}
        for place in own.values():
            (place / "partial").mkdir(parents=True)
        options = [word for name, place in own.items() for word in ("-o", f"{name}={place}")]
        try:
            _run([*_APT, *options, "update"], work)
            _run([*download, *options], work)
        except subprocess.CalledProcessError:
            raise error from None
    (archive,) = work.glob(f"{package}_*.deb")
    return archive


def _version(archive: Path) -> tuple[int, ...]:
    """Return the version in an archive's name, such as `prometheus_2.42.0+ds-5_amd64.deb`, without an epoch."""
    version = archive.name.split("_")[1].rpartition("%3a")[2]
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _run(command: list[str], folder: Path) -> None:
    environment = os.environ | {"LC_ALL": "C"}
    subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
