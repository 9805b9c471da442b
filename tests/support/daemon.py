"""The real daemon as a process of its own, for tests that start, stop, kill and scrape it.

    migrate(kafka, clickhouse, topic, database)
    with running_daemon(kafka, clickhouse, topic, database, batch__max_rows=100) as daemon:
        ...produce...
        daemon.wait_until_accounted()
        daemon.kill(); daemon.start()                     # the same settings, the same port
        daemon.metrics()["runstep_records_total", ...]    # see `Samples`
    # left cleanly: SIGTERM, exit code 0; left by an exception: SIGKILL, and the log's end is in the report

Several members of one group: nest `running_daemon`, each gets a port of its own. Settings are keyword arguments in
lower case, `kafka__session_timeout=6` for `RUNSTEP_KAFKA__SESSION_TIMEOUT`. Nothing of the caller's RUNSTEP_ variables
or of a runstep.toml reaches the process.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.process import free_port
from tests.support.group_offsets import group_offsets
from tests.support.paths import ROOT

PR_SET_PDEATHSIG: Final = 1
HTTP_OK: Final = 200
HTTP_UNAVAILABLE: Final = 503
START_TIMEOUT: Final = 60.0
STOP_TIMEOUT: Final = 40.0
"""Longer than the daemon's own drain_timeout."""
NAMED_TIMEOUT_S: Final = 30.0
"""Seconds within which readiness has to name a fault."""

Samples: TypeAlias = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""(name, labels as a frozen set of pairs) to value."""

_libc: Final = ctypes.CDLL(None)


class Daemon:
    """One `runstep run`. Made by `running_daemon`; may be ended and started again any number of times.

    Attributes:
        address: host:port of the endpoints, the same over every start.
        group: the consumer group.
        topic: the topic it reads.
    """

    def __init__(self, kafka: KafkaAddress, topic: str, environment: Mapping[str, str], workers: int = 1) -> None:
        self._kafka = kafka
        self._folder = Path(tempfile.mkdtemp(prefix="runstep-daemon-"))
        self._log = self._folder / "daemon.log"
        self._environment = environment
        self._command = [
            sys.executable,
            "-m",
            "pipeline.cli",
            "run",
            *(["--workers", str(workers)] if workers > 1 else []),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.topic = topic
        self.group = environment["RUNSTEP_KAFKA__GROUP_ID"]
        self.address = environment["RUNSTEP_HTTP__BIND"]

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the process, which the kernel kills when this thread ends, and wait until it is ready."""
        assert not self.running, "the daemon runs already"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - only a syscall
            )
        if wait:
            self.wait_until_ready()

    def limit_memory(self, size: int) -> None:
        """Let the kernel give the running process no more than so many bytes of data."""
        resource.prlimit(self.pid, resource.RLIMIT_DATA, (size, size))

    def peak_memory(self) -> int:
        """Return the most bytes of memory that the running process ever held at once."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until /readyz says 200."""
        self._wait(lambda: self.get("/readyz")[0] == HTTP_OK, timeout, lambda: f"not ready: {self.get('/readyz')}")

    def wait_until_unready(self, cause: str, timeout: float = NAMED_TIMEOUT_S) -> None:
        """Wait until /readyz says 503 and names a cause."""

        def named() -> bool:
            code, text = self.get("/readyz")
            return code == HTTP_UNAVAILABLE and cause in text

        self._wait(named, timeout, lambda: f"/readyz does not name {cause}: {self.get('/readyz')}")

    def wait_until_accounted(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the group has committed every end, as it is when asked first, and the daemon has counted its part.

        A batch is counted a moment after its commit.
        """
        ends = self.wait_until_committed(timeout)
        self._wait(lambda: self._counted(ends), timeout, lambda: f"not counted up to {ends}; {self.get('/status')}")

    def wait_until_committed(self, timeout: float = START_TIMEOUT) -> dict[str, int]:
        """Wait until the group has committed the end of every partition, as it is when asked first, and return it."""
        admin = KafkaAdminClient(bootstrap_servers=self._kafka.bootstrap)
        try:
            numbers = range(len(admin.describe_topics([self.topic])[0]["partitions"]))
            partitions = [TopicPartition(self.topic, number) for number in numbers]
            latest = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
            missing: dict[TopicPartition, int] = {p: found.offset for p, found in latest.items() if found.offset}

            def committed() -> bool:
                found = group_offsets(admin, self.group)
                for partition in [p for p in missing if p in found and found[p].offset >= missing[p]]:
                    del missing[partition]
                return not missing

            self._wait(committed, timeout, lambda: f"not committed up to {missing}; {self.get('/status')}")
        finally:
            admin.close()
        return {f"{place.topic}/{place.partition}": end.offset for place, end in latest.items()}

    def _counted(self, ends: Mapping[str, int]) -> bool:
        """Say whether the metrics have what was read of our partitions."""
        code, text = self.get("/status")
        if code != HTTP_OK:
            return False
        places = json.loads(text)["partitions"].items()
        read = {name: place for name, place in places if place["position"] is not None and name in ends}
        return all((place["committed"] or 0) >= min(place["position"], ends[name]) for name, place in read.items())

    def stop(self) -> None:
        """End it by SIGTERM; it must drain and exit with 0."""
        code = self._end(signal.SIGTERM)
        assert code == 0, f"the daemon ended with {code}:\n{self.log()}"

    def wait_until_ended(self) -> int:
        """Wait until it has ended, after a signal that was sent, and return the exit code."""
        return self._running().wait(STOP_TIMEOUT)

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        self._running().send_signal(number)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of an endpoint; status 0 where no process answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def scrape(self) -> str:
        """Return the text of /metrics."""
        status, text = self.get("/metrics")
        assert status == HTTP_OK, f"/metrics: {status} {text}"
        return text

    def metrics(self) -> Samples:
        """Return all samples of /metrics, as Prometheus' own parser reads them."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
        }

    def log(self, lines: int = 30) -> str:
        """Return the end of what it has written to its output, over all starts."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """End it if it runs and remove its folder."""
        if self.running:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the daemon was not started"
        return self._process

    def _end(self, number: signal.Signals) -> int:
        process = self._running()
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(STOP_TIMEOUT)
        process.kill()
        process.wait()
        raise AssertionError(f"the daemon did not end within {STOP_TIMEOUT:.0f} s of {number.name}:\n{self.log()}")

    def _wait(self, condition: Callable[[], bool], timeout: float, state: Callable[[], str]) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.running, f"the daemon ended with {self._running().poll()}:\n{self.log()}"
            assert time.monotonic() < deadline, f"{state()}\n{self.log()}"
            time.sleep(0.1)


@contextmanager
def running_daemon(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    topic: str,
    database: str,
    *,
    wait: bool = True,
    workers: int = 1,
    **settings: Any,
) -> Iterator[Daemon]:
    """Start a daemon that is ready, and see that it ends: cleanly, or at once when the test has failed.

    Args:
        kafka: the cluster.
        clickhouse: the server; `migrate` must have made the tables.
        topic: what it reads; it and the dead-letter topic must be there.
        database: where it writes.
        wait: whether to wait until it is ready; False where something is missing that it shall wait for.
        workers: of `--workers`.
        settings: further settings, such as `kafka__group_id="g"`; the group is named after the topic by default.
    """
    daemon = Daemon(kafka, topic, environment(kafka, clickhouse, topic, database, **settings), workers)
    try:
        daemon.start(wait=wait)
        yield daemon
        if daemon.running:
            daemon.stop()
    except BaseException as error:
        error.add_note(f"the daemon's log ends:\n{daemon.log()}")
        raise
    finally:
        daemon.close()


def migrate(kafka: KafkaAddress, clickhouse: ClickHouseAddress, topic: str, database: str, **settings: Any) -> None:
    """Make the tables, and the topics that are missing, by `runstep migrate --topics` with the same settings."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "migrate", "--topics"],
            cwd=folder,
            env=environment(kafka, clickhouse, topic, database, **settings),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
    assert done.returncode == 0, f"migrate ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def environment(
    kafka: KafkaAddress, clickhouse: ClickHouseAddress, topic: str, database: str, **settings: Any
) -> dict[str, str]:
    """Return the environment of a `runstep` command: the servers, quick group sessions, and what else is set."""
    chosen = {
        "kafka__bootstrap_servers": kafka.bootstrap,
        "kafka__topics": topic,
        "kafka__group_id": f"group-{topic}",
        "kafka__session_timeout": 6,
        "kafka__heartbeat_interval": 0.5,
        "kafka__poll_timeout": 0.1,
        "clickhouse__url": clickhouse.url,
        "clickhouse__database": database,
        "batch__max_age": 0.2,
        "http__bind": f"127.0.0.1:{free_port()}",
        "log__format": "json",
    } | settings
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEP_")}
    own = {f"RUNSTEP_{name.upper()}": str(value) for name, value in chosen.items()}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | own
