"""Debian's packages unpacked into the cache without root: with stand-ins for apt, and with the real `dpkg-deb`."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import debian_packages
from tests.servers.cache import ServerUnavailable
from tests.servers.debian_packages import program

APT = """#!/bin/sh
echo "$*" >> "$PLACE/asked"
case "$*" in
*update) exit ;;
*Dir::State::lists*) ;;
*) [ -e "$PLACE/lists" ] || { echo "E: Unable to locate package prometheus" >&2; exit 100; } ;;
esac
cp "$PLACE/$DEB" "$DEB"
"""
NO_NETWORK = """#!/bin/sh
echo "$*" >> "$PLACE/asked"
echo "W: a warning" >&2
echo "E: Could not connect to deb.debian.org" >&2
exit 100
"""
UNPACK = """#!/bin/sh
mkdir -p "$3/usr/bin" "$3/etc"
cp "$2" "$3/usr/bin/prometheus"
cp "$2" "$3/usr/bin/promtool"
"""

Machine = Callable[..., None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a process that has not looked for programs yet."""
    debian_packages._fetched.cache_clear()
    monkeypatch.setenv("RUNSTEP_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("DEB", "prometheus_2.42.0+ds-5_amd64.deb")
    (tmp_path / "prometheus_2.42.0+ds-5_amd64.deb").write_text("#!/bin/sh\necho unpacked\n")
    return tmp_path / "cache"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a machine that has these programs, and a shell's few, and no others."""

    def make(**scripts: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("sh", "cp", "mkdir"):
            (folder / name).symlink_to(shutil.which(name) or "")
        for name, text in scripts.items():
            executable(folder / name.replace("_", "-"), text)
        monkeypatch.setenv("PATH", str(folder))

    return make


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def asked(tmp_path: Path) -> list[str]:
    """Return what apt was asked, in order."""
    return (tmp_path / "asked").read_text().splitlines()


def test_an_installed_program_is_taken(machine: Machine, tmp_path: Path) -> None:
    machine(prometheus="#!/bin/sh\n", apt_get=NO_NETWORK)
    assert program("prometheus") == str(tmp_path / "bin" / "prometheus")


def test_a_package_is_unpacked_once_for_all_its_programs(machine: Machine, tmp_path: Path, cache: Path) -> None:
    machine(apt_get=APT, dpkg_deb=UNPACK)
    (tmp_path / "lists").touch()
    found = [program(name) for name in ("prometheus", "promtool")]
    assert found == [str(cache / "debian-prometheus" / name) for name in ("prometheus", "promtool")]
    assert len(asked(tmp_path)) == 1
    debian_packages._fetched.cache_clear()
    assert program("prometheus") == found[0]
    assert len(asked(tmp_path)) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["debian-prometheus", "prometheus.lock"]


def test_missing_package_lists_are_fetched_for_the_cache(machine: Machine, tmp_path: Path, cache: Path) -> None:
    machine(apt_get=APT, dpkg_deb=UNPACK)
    assert program("prometheus") == str(cache / "debian-prometheus" / "prometheus")
    first, update, second = asked(tmp_path)
    assert ("lists" in first, "lists" in update, "lists" in second) == (False, True, True)
    assert update.endswith(" update")
    assert sorted(path.name for path in cache.iterdir()) == ["debian-prometheus", "prometheus.lock"]


def test_without_network_the_reason_is_that_of_apt_which_is_asked_for_one_program_only(
    machine: Machine, tmp_path: Path, cache: Path
) -> None:
    machine(apt_get=NO_NETWORK, dpkg_deb=UNPACK)
    for name in ("prometheus", "promtool", "prometheus"):
        with pytest.raises(ServerUnavailable) as caught:
            program(name)
        assert str(caught.value) == (
            f"{name} is not installed, and Debian's package prometheus cannot be had "
            f"(Could not connect to deb.debian.org); install {name} 2.42 or later"
        )
    assert len(asked(tmp_path)) == 2
    assert [path.name for path in cache.iterdir()] == ["prometheus.lock"]


def test_a_damaged_package_leaves_nothing_behind(machine: Machine, tmp_path: Path, cache: Path) -> None:
    machine(apt_get=APT, dpkg_deb="#!/bin/sh\nmkdir -p $3/usr/bin\necho 'dpkg-deb: error: bad magic' >&2\nexit 2\n")
    (tmp_path / "lists").touch()
    with pytest.raises(ServerUnavailable, match=r"prometheus cannot be had \(dpkg-deb: error: bad magic\)"):
        program("prometheus")
    assert [path.name for path in cache.iterdir()] == ["prometheus.lock"]


def test_a_package_that_is_too_old_is_not_taken(
    machine: Machine, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(apt_get=APT, dpkg_deb=UNPACK)
    monkeypatch.setenv("DEB", "kubernetes-client_1.20.5+really1.20.2-1_amd64.deb")
    (tmp_path / "kubernetes-client_1.20.5+really1.20.2-1_amd64.deb").touch()
    (tmp_path / "lists").touch()
    with pytest.raises(ServerUnavailable) as caught:
        program("kubectl")
    assert str(caught.value) == (
        "kubectl is not installed, and Debian's kubernetes-client_1.20.5+really1.20.2-1_amd64.deb is too old; "
        "install kubectl 1.21 or later"
    )
    assert [path.name for path in cache.iterdir()] == ["kubernetes-client.lock"]


def test_without_apt_it_is_said(machine: Machine) -> None:
    machine()
    with pytest.raises(ServerUnavailable, match="there is no apt-get to fetch Debian's package; install kubectl"):
        program("kubectl")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's own")
def test_a_real_package_is_unpacked(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: prometheus\nVersion: 2.42.0\nArchitecture: all\nMaintainer: nobody <n@example.com>\nDescription: x\n"
    )
    executable(tree / "usr" / "bin" / "prometheus", "#!/bin/sh\necho unpacked\n")
    archive = tmp_path / "prometheus_2.42.0+ds-5_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, archive], check=True, capture_output=True)
    path = os.environ["PATH"]
    machine(apt_get=APT)
    (tmp_path / "lists").touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "prometheus" else real(name))
    found = program("prometheus")
    assert subprocess.run([found], capture_output=True, text=True, check=True).stdout == "unpacked\n"
