"""What a test broker starts from: the Java command line, a class-data archive and a formatted log directory.

Archive and format are made once and kept in the cache; together they bring a broker's start from 4 s down to 1 s.
"""

import hashlib
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress
from tests.servers.downloads import java, java_version, kafka_jars
from tests.servers.process import ServerProcess

AOT_CACHE_SINCE = 25
# From here on the JVM warns of the compression libraries unless an option expects them.
NATIVE_ACCESS_SINCE = 24
# A broker that lives for seconds: the second compiler and a parallel collector never pay for themselves.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-Xms128m")
# A broker that is measured.
FULL_SPEED = ("-XX:+UseG1GC", "-Xmx1g", "-Xms1g")
CLUSTER_ID = "runstepTestClusterAAAA"


def java_command(main_class: str, *options: str) -> list[str]:
    """Return the command that runs a class of Kafka with these options of the JVM."""
    class_path = ":".join(map(str, kafka_jars()))
    native = ["--enable-native-access=ALL-UNNAMED"] if java_version(java()) >= NATIVE_ACCESS_SINCE else []
    return [str(java()), *options, *native, "-Dlog4j2.disable.jmx=true", "-cp", class_path, main_class]


@cache
def template() -> Path:
    """Return a formatted log directory to copy; single brokers may all have the same ids."""
    with locked("kafka-template"):
        folder = cache_dir() / f"kafka-template-{_fingerprint()}"
        if not folder.exists():
            staging = folder.with_suffix(".part")
            shutil.rmtree(staging, ignore_errors=True)
            _format(staging)
            staging.rename(folder)
        return folder


def _format(folder: Path) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        properties = Path(scratch) / "format.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:19093\n"
            "listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093\n"
            f"controller.listener.names=CONTROLLER\nlog.dirs={folder}\n"
        )
        arguments = ["format", f"--cluster-id={CLUSTER_ID}", "-c", str(properties)]
        command = [*java_command("kafka.tools.StorageTool", *QUICK_START), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise ServerUnavailable(f"cannot format Kafka's log directory: {answer.stderr.strip() or answer.stdout}")


def archive() -> Path:
    """Name the class-data archive for this java and these jars; the file may not exist yet."""
    suffix = "aot" if java_version(java()) >= AOT_CACHE_SINCE else "jsa"
    return cache_dir() / f"kafka-classes-{_fingerprint()}.{suffix}"


def reading_archive() -> tuple[str, ...]:
    """Return the JVM options that start from the archive, when there is one."""
    path = archive()
    if not path.exists():
        return ()
    return (f"-XX:AOTCache={path}",) if path.suffix == ".aot" else (f"-XX:SharedArchiveFile={path}", "-Xshare:auto")


def writing_archive(path: Path) -> tuple[str, ...]:
    """Return the JVM options that write an archive when the JVM ends."""
    return (f"-XX:AOTCacheOutput={path}",) if path.suffix == ".aot" else (f"-XX:ArchiveClassesAtExit={path}",)


def finish_archive(process: ServerProcess, written: Path) -> None:
    """End a broker that writes an archive, and put the archive in its place; without one brokers only start slower."""
    process.end(signal.SIGTERM, timeout=60)
    if written.exists():
        written.rename(archive())
    else:
        progress(f"java wrote no class-data archive, brokers will start slower:\n{process.tail(3)}")


@cache
def _fingerprint() -> str:
    """Name what an archive depends on: the java, the order, size and time of the jars, the options."""
    parts = [str(java()), str(java_version(java())), *QUICK_START]
    parts += [f"{jar}:{jar.stat().st_size}:{jar.stat().st_mtime_ns}" for jar in kafka_jars()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
