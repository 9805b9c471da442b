"""What the image installs: every package with its version and hash, as pyproject.toml wants it, for both machines."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.docker import lock
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def locked(*extras: str) -> dict[str, str]:
    """Return the version of each package in the files for these extras."""
    found: dict[str, str] = {}
    for name in ("", *(f"-{extra}" for extra in extras)):
        text = (FOLDER / f"requirements{name}.txt").read_text(encoding="utf-8")
        body = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        entries = list(ENTRY.finditer(body))
        assert "".join(entry[0] for entry in entries) == body, f"requirements{name}.txt has more than pinned packages"
        found |= {entry[1]: entry[2] for entry in entries}
    return found


WANTED = {"": PROJECT["project"]["dependencies"], **{extra: EXTRAS[extra] for extra in lock.EXTRAS}}


@pytest.mark.parametrize("extra", WANTED)
def test_the_image_has_what_the_project_needs(extra: str) -> None:
    versions = locked(*filter(None, [extra]))
    for requirement in map(Requirement, WANTED[extra]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), (
            f"{requirement} is not in the image; run: python -m deploy.docker.lock"
        )


@pytest.mark.parametrize("machine", lock.MACHINES)
def test_no_package_in_the_image_lacks_what_it_needs(machine: str) -> None:
    """By what the installed ones say, where the tests run on the versions of the image."""
    versions = locked(*lock.EXTRAS)
    place = {"platform_machine": machine, "python_version": lock.image_python(), "sys_platform": "linux", "extra": ""}
    looked_at = 0
    for name, version in versions.items():
        try:
            needs = distribution(name)
        except PackageNotFoundError:
            continue
        if needs.version != version:
            continue
        looked_at += 1
        for requirement in map(Requirement, needs.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate(place):
                assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), (
                    name,
                    requirement,
                )
    assert looked_at > len(versions) / 2, (
        "the image's versions are not those of the tests: python -m deploy.docker.lock"
    )


def test_nothing_is_installed_without_a_hash() -> None:
    build = DOCKERFILE[DOCKERFILE.index("\nRUN ") : DOCKERFILE.rindex("\nFROM ")]
    commands = re.findall(r"\bpip .*", re.sub(r"--without-pip .*", "", build))
    assert len(commands) == 4
    for command in commands:
        # What has no dependencies is the project itself.
        assert "--require-hashes" in command or "--no-deps" in command
    assert "--no-build-isolation" in build


def test_both_machines_have_a_wheel_of_what_is_compiled() -> None:
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    for name in ("crc32c", "lz4", "zstandard", "cramjam", "pydantic-core", "clickhouse-connect"):
        (entry,) = [entry for entry in ENTRY.finditer(text) if entry[1] == name]
        assert entry[3].count("--hash") == len(lock.MACHINES), name
