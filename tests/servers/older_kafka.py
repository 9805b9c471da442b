"""A real Kafka 3.3, as the tests of older brokers need it: without what brokers have learned since.

Its jars are pinned by one digest over all of them.
"""

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from tests.servers.cache import ServerUnavailable, cache_dir, locked, progress
from tests.servers.downloads import java
from tests.servers.kafka import KafkaServer
from tests.servers.kafka_image import CLUSTER_ID, QUICK_START
from tests.servers.server import write_properties

COORDINATES = "org.apache.kafka:kafka_2.13:3.3.2"
SHA256 = "3db1adb2287ebdcc0f8921420fb7b261131e1497a6258259a35b431a26f01d4a"


class OlderKafkaServer(KafkaServer):
    """The broker; everything else is as with the current one."""

    name = "older-kafka"

    def _command(self) -> list[str]:
        properties = self.folder / "server.properties"
        write_properties(properties, self._properties)
        if not (self.folder / "log").exists():
            command = [*_java("kafka.tools.StorageTool"), "format", f"--cluster-id={CLUSTER_ID}", "-c", str(properties)]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                raise ServerUnavailable(f"cannot format Kafka's log directory: {answer.stderr or answer.stdout}")
        return [*_java("kafka.Kafka"), str(properties)]


def _java(main_class: str) -> list[str]:
    return [str(java()), *QUICK_START, "-cp", ":".join(map(str, older_kafka_jars())), main_class]


@cache
def older_kafka_jars() -> tuple[Path, ...]:
    """Fetch the jars from Maven Central, and return them in a fixed order."""
    with locked("older-kafka"):
        folder = cache_dir() / f"kafka-{COORDINATES.rpartition(':')[2]}"
        if not folder.exists():
            _fetch(folder)
        jars = tuple(sorted(folder.rglob("*.jar"), key=lambda jar: jar.name))
    if digest(jars) != SHA256:
        raise ServerUnavailable(f"the jars of {COORDINATES} are not those that were pinned; remove {folder}")
    return jars


def _fetch(folder: Path) -> None:
    try:
        import jgo  # noqa: PLC0415 - only the first run needs it
    except ImportError:
        raise ServerUnavailable(f"the jars of {COORDINATES} are not fetched yet: pip install jgo") from None
    progress(f"fetching {COORDINATES} (40 jars, 38 MB)")
    staging = folder.with_name(f"{folder.name}.part")
    try:
        jgo.build(endpoint=COORDINATES, cache_dir=staging)
    except Exception as error:
        message = f"cannot fetch {COORDINATES} from Maven Central: {error}; check the network and run again"
        raise ServerUnavailable(message) from error
    staging.rename(folder)


def digest(jars: tuple[Path, ...]) -> str:
    """Return the SHA-256 over names and contents."""
    lines = (f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
