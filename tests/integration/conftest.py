"""Fixtures that several integration tests share: a topic with a group of its own, on the run's broker or a private one.

world          two partitions on the run's Kafka; see `source_rig.World`
private_world  the same on a broker of the test's own, in `.broker`, to stop, damage and start again
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.source_rig import PrivateWorld, World


@pytest.fixture
def world(kafka: Any, topic: Callable[..., str]) -> Iterator[World]:
    made = World(kafka.bootstrap, topic(partitions=2))
    yield made
    made.close()


@pytest.fixture
def private_world(kafka_factory: Callable[..., Any]) -> Iterator[PrivateWorld]:
    made = PrivateWorld(kafka_factory())
    yield made
    made.close()
