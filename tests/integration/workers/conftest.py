"""Fixtures of the tests of workers."""

from collections.abc import Iterator

import pytest

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.oracle import Place, place


@pytest.fixture
def there(kafka: KafkaAddress, clickhouse: ClickHouseAddress) -> Iterator[Place]:
    """Four partitions and the tables."""
    with place(kafka, clickhouse) as made:
        yield made
