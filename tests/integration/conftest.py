"""Fixtures that several integration tests share.

world          two partitions on the run's Kafka, with a group of its own; see `source_rig.World`
private_world  the same on a broker of the test's own, in `.broker`, to stop, damage and start again
environ        a pipeline whose every part is there, but for the daemon; what the environment says of it
doctor         `runstep doctor`; see `doctor_rig`
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.check_rig import complete_pipeline
from tests.support.doctor_rig import Doctor, asking
from tests.support.source_rig import PrivateWorld, World


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


@pytest.fixture
def environ(
    kafka: Any, clickhouse: Any, topic: Callable[..., str], database: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    return complete_pipeline(kafka, clickhouse, topic, database, monkeypatch)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    return asking(capsys)
