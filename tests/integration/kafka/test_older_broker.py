"""A broker as Kafka 3.3 is, of 2022: the daemon and the tools work there as on the current one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.older_kafka import OlderKafkaServer
from tests.support.daemon import environment
from tests.support.place import Place

TOPIC = "older-broker"


@pytest.fixture
def older() -> Iterator[KafkaAddress]:
    with OlderKafkaServer() as server:
        yield server.address


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_an_older_broker_is_read_checked_and_accounted_for(
    older: KafkaAddress, clickhouse: ClickHouseAddress, database: str, tmp_path: Path
) -> None:
    place = Place(older, TOPIC, environment(older, clickhouse, TOPIC, database), tmp_path)
    place.runstep("migrate", "--topics")
    place.deliver_all_examples()
    for command in (("check", "--live"), ("doctor",), ("audit",)):
        place.runstep(*command)
    assert "invalid_json" in place.runstep("dlq", "list")
