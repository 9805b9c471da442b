"""The test servers themselves: each one is real, keeps its data over a crash, and dies with its owner."""

import http.server
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from tests.servers import kafka as kafka_server
from tests.servers.addresses import ClickHouseAddress, ClickHouseRefused, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.process import free_port
from tests.servers.prometheus import PrometheusAddress
from tests.servers.server import Home
from tests.servers.session import Run
from tests.servers.tls import Certificates, TlsProxy
from tests.support.oracle import until
from tests.support.paths import ROOT

USERS = """
<clickhouse><users><writer>
  <password>secret</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <grants><query>GRANT SELECT, INSERT ON shop.*</query></grants>
</writer></users></clickhouse>
"""
WRITER = {"user": "writer", "password": "secret"}
METRICS = b"""# TYPE steps counter
steps_total 3.0 # {step_id="step_1"} 1.0 %d.0
# EOF
"""


def produce(topic: str, *values: bytes, **connection: object) -> None:
    producer = KafkaProducer(acks="all", **connection)
    try:
        for future in [producer.send(topic, value) for value in values]:
            future.get(timeout=20)
    finally:
        producer.close()


def consume(topic: str, count: int, **connection: object) -> list[bytes]:
    consumer = KafkaConsumer(**connection)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        values: list[bytes] = []
        deadline = time.monotonic() + 20
        while len(values) < count and time.monotonic() < deadline:
            values += [record.value for records in consumer.poll(timeout_ms=500).values() for record in records]
        return values
    finally:
        consumer.close()


def create_topic(bootstrap: str, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        admin.close()


def test_kafka_takes_and_gives_records(kafka: KafkaAddress, topic: Callable[..., str]) -> None:
    name = topic()
    produce(name, b"one", b"two", bootstrap_servers=kafka.bootstrap)
    assert consume(name, 2, bootstrap_servers=kafka.bootstrap) == [b"one", b"two"]


def test_kafka_keeps_its_records_over_a_kill(kafka_factory: Callable[..., KafkaServer]) -> None:
    server = kafka_factory()
    bootstrap = server.bootstrap
    create_topic(bootstrap, "kept")
    produce("kept", b"one", bootstrap_servers=bootstrap)
    server.kill()
    assert not server.running
    server.start()
    assert server.bootstrap == bootstrap
    assert consume("kept", 1, bootstrap_servers=bootstrap) == [b"one"]


@pytest.fixture(scope="module")
def secure() -> Iterator[KafkaServer]:
    with KafkaServer(secure=True) as server:
        create_topic(server.bootstrap, "guarded")
        server.add_scram_user("admin", "scram-pw")
        yield server


def security(server: KafkaServer, listener: str) -> dict[str, object]:
    """Return what a client of this listener says."""
    files = {"ssl_cafile": str(server.certificates.ca_file)}
    client = server.certificates.client
    plain = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "admin", "sasl_plain_password": "admin-pw"}
    scram = {**plain, "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_password": "scram-pw"}
    options: dict[str, dict[str, object]] = {
        "SASL": dict(plain),
        "SASLS": {**scram, **files},
        "TLS": dict(files),
        "MTLS": {**files, "ssl_certfile": str(client.cert_file), "ssl_keyfile": str(client.key_file)},
    }
    return {
        "bootstrap_servers": server.addresses[listener],
        "security_protocol": kafka_server.LISTENERS[listener],
        **options[listener],
    }


@pytest.mark.parametrize("listener", ["SASL", "SASLS", "MTLS"])
def test_kafka_takes_each_kind_of_client(secure: KafkaServer, listener: str) -> None:
    connection = security(secure, listener)
    produce("guarded", listener.encode(), **connection)
    assert listener.encode() in consume("guarded", 1, **connection)


def test_clickhouse_refuses_a_wrong_password_and_keeps_rows_over_a_kill(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory(users=USERS)
    server.query("CREATE DATABASE shop")
    server.query("CREATE TABLE shop.t (x Int32) ENGINE = MergeTree ORDER BY x")
    server.query("INSERT INTO shop.t VALUES (1), (2)", **WRITER)
    with pytest.raises(ClickHouseRefused, match="516") as refused:
        server.query("SELECT 1", **{**WRITER, "password": "wrong"})
    assert refused.value.status == 403
    with pytest.raises(ClickHouseRefused, match="ACCESS_DENIED"):
        server.query("DROP TABLE shop.t", **WRITER)
    server.kill()
    server.start()
    assert server.query("SELECT sum(x) FROM shop.t", **WRITER) == "3\n"


def test_clickhouse_users_change_with_a_restart(clickhouse_factory: Callable[..., ClickHouseServer]) -> None:
    server = clickhouse_factory(users=USERS)
    server.users = USERS.replace("secret", "rotated")
    server.restart()
    assert server.query("SELECT 1", **{**WRITER, "password": "rotated"}) == "1\n"


def test_an_address_may_name_its_user(clickhouse_factory: Callable[..., ClickHouseServer]) -> None:
    server = clickhouse_factory(users=USERS)
    address = ClickHouseAddress(f"http://writer:secret@127.0.0.1:{server.http_port}")
    assert address.query("SELECT currentUser()") == "writer\n"


def test_a_paused_server_answers_after_it_is_resumed(clickhouse_factory: Callable[..., ClickHouseServer]) -> None:
    server = clickhouse_factory()
    answers: list[str] = []
    server.pause()
    asking = threading.Thread(target=lambda: answers.append(server.query("SELECT 1")))
    asking.start()
    asking.join(timeout=0.3)
    assert answers == []
    server.resume()
    asking.join(timeout=20)
    assert answers == ["1\n"]


def test_each_test_has_a_database_of_its_own(clickhouse: ClickHouseAddress, database: str) -> None:
    clickhouse.query(f"CREATE DATABASE `{database}`")
    assert database in clickhouse.query("SHOW DATABASES").splitlines()


@pytest.fixture
def exporter() -> Iterator[str]:
    """Serve one counter with an exemplar."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.end_headers()
            self.wfile.write(METRICS % time.time())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class says so
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_prometheus_scrapes_values_and_exemplars(prometheus: PrometheusAddress, exporter: str) -> None:
    started = time.time()
    job = f"job-{free_port()}"
    prometheus.scrape(exporter, job)
    prometheus.wait_for_scrape(job)
    prometheus.forget(job)
    selector = f'steps_total{{job="{job}"}}'
    assert prometheus.value(selector) == 3
    series = prometheus.query_exemplars(selector, started - 60, time.time() + 60)
    assert series[0]["exemplars"][0]["labels"] == {"step_id": "step_1"}
    assert prometheus.query_range(selector, started - 1, time.time() + 1)


def test_promtool_finds_fault(promtool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert promtool("check", "metrics", stdin="# HELP a_total A.\n# TYPE a_total counter\na_total 1\n").returncode == 0
    assert promtool("check", "metrics", stdin="aB 1\n").returncode == 3


def test_tls_proxy_demands_the_right_certificates(clickhouse: ClickHouseAddress, tmp_path: Path) -> None:
    own, theirs = Certificates(tmp_path / "own"), Certificates(tmp_path / "theirs")

    def ask(port: int, ca_file: Path, *, with_certificate: bool) -> bytes:
        context = ssl.create_default_context(cafile=ca_file)
        if with_certificate:
            context.load_cert_chain(own.client.cert_file, own.client.key_file)
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/ping", timeout=10, context=context) as answer:
            return bytes(answer.read())

    with TlsProxy(clickhouse.http_port, own.server, client_ca=own.ca_file) as proxy:
        assert ask(proxy.port, own.ca_file, with_certificate=True) == b"Ok.\n"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(proxy.port, theirs.ca_file, with_certificate=True)
        with pytest.raises(OSError, match=r"certificate|reset|closed|EOF"):
            ask(proxy.port, own.ca_file, with_certificate=False)


OWNER = """
import json, sys, time
from tests.servers.clickhouse import ClickHouseServer
server = ClickHouseServer().start()
print(json.dumps([server.process.pid, server.process.guard_pid, str(server.folder)]), flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Say whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("victim", ["owner", "guard"])
def test_a_server_dies_with_its_owner_and_with_its_guard(victim: str) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    server, guard, folder = json.loads(owner.stdout.readline())
    try:
        assert not gone(server)
        os.kill(owner.pid if victim == "owner" else guard, signal.SIGKILL)
        until(lambda: gone(server) and gone(guard), "it outlives its owner", 20)
        if victim == "owner":
            until(lambda: not Path(folder).exists(), "it outlives its owner", 20)
    finally:
        owner.kill()
        owner.communicate()
        # No process is left to do it when the guard was killed before the owner.
        shutil.rmtree(folder, ignore_errors=True)


def test_a_run_has_one_server_of_a_kind_and_ends_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", os.getpid())
    run.folder.mkdir()
    made: list[ClickHouseServer] = []

    def make(home: Home) -> ClickHouseServer:
        made.append(ClickHouseServer(home=home))
        return made[-1]

    first, second = (run.shared("clickhouse", make, lambda server: {"url": server.url}) for _ in range(2))
    assert first == second
    assert len(made) == 1
    run.end()
    assert not made[0].running
    assert not run.folder.exists()
