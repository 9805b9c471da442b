"""Fixtures of real servers. Nothing is started before a test asks for it, and one server serves the whole run.

kafka               the run's Kafka: `.bootstrap` ("127.0.0.1:port")
clickhouse          the run's ClickHouse: `.url` ("http://127.0.0.1:port"), `.http_port`, `.tcp_port`, `.query(sql)`
prometheus          the run's Prometheus: `.url`, `.scrape("host:port", job)`, `.wait_for_scrape(job)`, `.value(expr)`,
                    `.query(expr)`, `.query_range(...)`, `.query_exemplars(...)`
topic               makes topics: `topic(partitions=4, config={...}) -> name`; unique names, deleted after the test
database            a name for a ClickHouse database of the test's own; not created, dropped after the test
kafka_admin         a `KafkaAdminClient` of the run's Kafka
promtool            `promtool("check", "metrics", stdin=text) -> CompletedProcess`; like `prometheus` it is
                    installed or unpacked from Debian's package; without either it skips, and fails when CI=true
kafka_factory       private brokers, to kill or freeze: `kafka_factory(secure=True) -> KafkaServer`, started
clickhouse_factory  private servers: `clickhouse_factory(users=Path(...), config="<xml/>") -> ClickHouseServer`, started

`RUNSTEP_TEST_KAFKA=host:port` and `RUNSTEP_TEST_CLICKHOUSE=http://user:password@host:port` win over starting a server;
the private ones are always started. Tests in integration/, acceptance/ and scenarios/, and those that use one of these
fixtures, get the marker `servers`: `pytest -m "not servers"` runs the rest.
"""

import logging
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.servers import prometheus as prometheus_server
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.cache import ServerUnavailable
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.debian_packages import program
from tests.servers.kafka import KafkaServer
from tests.servers.prometheus import PrometheusAddress, PrometheusServer
from tests.servers.server import Server
from tests.servers.session import Run

HERE = Path(__file__).parent
SERVER_FOLDERS = (HERE / "integration", HERE / "acceptance", HERE / "scenarios")
SERVER_FIXTURES = {"kafka", "clickhouse", "prometheus", "promtool", "kafka_factory", "clickhouse_factory"}
RUN = pytest.StashKey[Run]()
Kind = TypeVar("Kind", bound=Server)


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run in the controller; learn of it in a worker."""
    given = getattr(config, "workerinput", {}).get("servers")
    config.stash[RUN] = Run(Path(given["folder"]), given["owner"]) if given else Run.begin()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the run."""
    run = node.config.stash[RUN]
    node.workerinput["servers"] = {"folder": str(run.folder), "owner": run.owner}


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run's servers with the controller."""
    run = config.stash.get(RUN, None)
    if run is not None and run.owner == os.getpid():
        run.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real servers."""
    for item in items:
        used = SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if used or any(folder in item.path.parents for folder in SERVER_FOLDERS):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Give back the loggers as they were: commands that run in this process set them up."""
    root = logging.getLogger()
    names = ("", "pipeline", "kafka", "urllib3")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> KafkaAddress:
    """The run's Kafka."""
    given = os.environ.get("RUNSTEP_TEST_KAFKA")
    if given:
        return KafkaAddress(given)
    run = request.config.stash[RUN]
    return KafkaAddress(**_required(run, "kafka", KafkaServer, lambda server: {"bootstrap": server.bootstrap}))


@pytest.fixture(scope="session")
def clickhouse(request: pytest.FixtureRequest) -> ClickHouseAddress:
    """The run's ClickHouse."""
    given = os.environ.get("RUNSTEP_TEST_CLICKHOUSE")
    if given:
        return ClickHouseAddress(given)

    def describe(server: ClickHouseServer) -> dict[str, Any]:
        # Whether it was restarted meanwhile cannot be told of a server in its first second, see `insert_tokens`.
        server.process.wait_until(lambda: server.query("SELECT uptime()") != "0\n", server.name)
        return {"url": server.url, "tcp_port": server.tcp_port}

    return ClickHouseAddress(**_required(request.config.stash[RUN], "clickhouse", ClickHouseServer, describe))


@pytest.fixture(scope="session")
def prometheus(request: pytest.FixtureRequest) -> PrometheusAddress:
    """The run's Prometheus."""
    _require_prometheus()

    def describe(server: PrometheusServer) -> dict[str, Any]:
        return {"url": server.address.url, "targets": str(server.address.targets)}

    described = _required(request.config.stash[RUN], "prometheus", PrometheusServer, describe)
    return PrometheusAddress(described["url"], Path(described["targets"]))


@pytest.fixture(scope="session")
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Prometheus' own checker."""
    _require_prometheus()
    return prometheus_server.promtool


@pytest.fixture(scope="session")
def kafka_admin(kafka: KafkaAddress) -> Iterator[KafkaAdminClient]:
    """An admin client of the run's Kafka."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    yield admin
    admin.close()


@pytest.fixture
def topic(request: pytest.FixtureRequest, kafka_admin: KafkaAdminClient) -> Iterator[Callable[..., str]]:
    """Make topics of the test's own."""
    made: list[str] = []

    def make(partitions: int = 1, config: dict[str, str] | None = None) -> str:
        name = f"{_readable(request.node.name)}-{uuid.uuid4().hex[:8]}"
        kafka_admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config or {})])
        made.append(name)
        return name

    yield make
    if made:
        kafka_admin.delete_topics(made)


@pytest.fixture
def database(request: pytest.FixtureRequest, clickhouse: ClickHouseAddress) -> Iterator[str]:
    """A name for a database of the test's own."""
    name = f"{_readable(request.node.name).replace('-', '_')}_{uuid.uuid4().hex[:8]}"
    yield name
    clickhouse.query(f"DROP DATABASE IF EXISTS `{name}`")


@pytest.fixture
def kafka_factory() -> Iterator[Callable[..., KafkaServer]]:
    """Start brokers of the test's own."""
    yield from _factory(KafkaServer)


@pytest.fixture
def clickhouse_factory() -> Iterator[Callable[..., ClickHouseServer]]:
    """Start ClickHouse servers of the test's own."""
    yield from _factory(ClickHouseServer)


def _factory(kind: type[Kind]) -> Iterator[Callable[..., Kind]]:
    made: list[Kind] = []

    def make(*arguments: Any, **options: Any) -> Kind:
        made.append(kind(*arguments, **options))
        return made[-1].start()

    yield make
    for server in made:
        server.close()


def _required(run: Run, name: str, kind: type[Server], describe: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    try:
        return run.shared(name, lambda home: kind(home=home), describe)
    except ServerUnavailable as error:
        reason = str(error)
    # Out here, so that the report is the reason alone and not a chain of two errors.
    pytest.fail(reason, pytrace=False)


def _require_prometheus() -> None:
    try:
        for name in ("prometheus", "promtool"):
            program(name)
    except ServerUnavailable as error:
        reason = str(error)
    else:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _readable(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].removeprefix("test-")
