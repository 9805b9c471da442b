"""Writes which packages the image installs: exact versions with the hash of each wheel, for both kinds of machines.

    python -m deploy.docker.lock

The versions are those of the environment that runs it, so that the image has what the tests ran on. It asks the package
index through pip, and needs the Python version of the image.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent.parent
MACHINES: Final = ("x86_64", "aarch64")
EXTRAS: Final = ("msk", "report")
"""Those that `--build-arg EXTRAS` may name."""
_NEWEST_GLIBC: Final = 41
"""2.41 is that of Debian 13, on which the image is based. A wheel for an older one fits, too."""
_LEGACY: Final = {"x86_64": ("manylinux2014", "manylinux2010", "manylinux1"), "aarch64": ("manylinux2014",)}
_HEAD: Final = """\
# {what}, for Linux on x86-64 and ARM64 and Python {python}.
# Written by `python -m deploy.docker.lock`; do not edit.
"""

Locked = dict[str, tuple[str, set[str]]]
"""By package: the version, and the SHA-256 of its wheels."""


def main() -> int:
    """Write all files; return the exit code."""
    python = image_python()
    if python != "{}.{}".format(*sys.version_info):
        sys.stderr.write(
            f"the image has Python {python}; run it with that version: python{python} -m deploy.docker.lock\n"
        )
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    installed = {each.name: each.version for each in distributions() if each.name != project["project"]["name"]}
    base = _resolved(wanted, installed, python)
    _write("requirements.txt", "What `runstep` needs", base, python)
    pinned = {name: version for name, (version, _) in base.items()}
    for extra in EXTRAS:
        more = _resolved([*wanted, *extras[extra]], pinned, python)
        added = {name: found for name, found in more.items() if name not in base}
        _write(f"requirements-{extra}.txt", f"What the extra `{extra}` adds to requirements.txt", added, python)
    build = _resolved(project["build-system"]["requires"], {}, python)
    _write("requirements-build.txt", "What builds the wheel", build, python)
    return 0


def image_python() -> str:
    """Return the Python of the image, such as 3.11."""
    (version,) = set(re.findall(r"^FROM python:(\d+\.\d+)", (FOLDER / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    return str(version)


def _resolved(wanted: list[str], pinned: Mapping[str, str], python: str) -> Locked:
    """Return what pip would install for each machine; `pinned` are versions by name, of what may be among it.

    Raises:
        RuntimeError: the machines would get different packages or versions.
    """
    locked: Locked = {}
    names: Mapping[str, set[str]] = defaultdict(set)
    for machine in MACHINES:
        for package in _asked(wanted, pinned, python, machine):
            name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
            version, hashes = locked.setdefault(name, (package["metadata"]["version"], set()))
            if version != package["metadata"]["version"]:
                raise RuntimeError(f"{name}: {version} is not what {machine} gets")
            hashes.add(package["download_info"]["archive_info"]["hashes"]["sha256"])
            names[machine].add(name)
    if len(set(map(frozenset, names.values()))) > 1:
        raise RuntimeError(f"the machines get different packages: {dict(names)}")
    return locked


def _asked(wanted: list[str], pinned: Mapping[str, str], python: str, machine: str) -> list[Any]:
    plain = "cp" + python.replace(".", "")
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    tags += [f"{name}_{machine}" for name in (*_LEGACY[machine], "linux")]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    target += [f"--abi={abi}" for abi in (plain, "abi3", "none")] + [f"--platform={tag}" for tag in tags]
    with tempfile.TemporaryDirectory() as folder:
        versions, report = Path(folder) / "constraints.txt", Path(folder) / "report.json"
        versions.write_text("".join(f"{name}=={version}\n" for name, version in pinned.items()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += [f"--target={folder}/target", f"--constraint={versions}", f"--report={report}", *target, *wanted]
        # Only the index: wheels that lie on this machine have other hashes.
        environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
        subprocess.run(command, env=environment, check=True)  # noqa: S603 - pip, with the project's own requirements
        return list(json.loads(report.read_text(encoding="utf-8"))["install"])


def _write(file: str, what: str, locked: Locked, python: str) -> None:
    lines = [_HEAD.format(what=what, python=python)]
    for name, (version, hashes) in sorted(locked.items()):
        lines.append(
            " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{each}" for each in sorted(hashes))]) + "\n"
        )
    (FOLDER / file).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
