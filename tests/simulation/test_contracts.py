"""The fakes of the simulation pass the contract suites that the real servers pass.

The suites' tests are imported, and run here with this file's fixtures. The source under test is the real one, on a
simulated consumer and broker.
"""

from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import KafkaSettings
from pipeline.contracts import Source, StepKey
from pipeline.records import Partition
from tests.contract import test_sink, test_source
from tests.contract.test_sink import *  # noqa: F403
from tests.contract.test_source import *  # noqa: F403
from tests.simulation.broker import Broker
from tests.simulation.network import Network
from tests.simulation.scheduler import Scheduler
from tests.simulation.source import SimulatedSource, virtual_time
from tests.simulation.store import Server, SimulatedSink


class World:
    """The simulated broker behind the verbs of the source's suite."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.broker = Broker(2, lambda: scheduler.now)
        self.topic = self.broker.topic

    def member(self) -> Source:
        settings = KafkaSettings(topics=(self.topic,))
        return SimulatedSource(self.broker, self._scheduler, Network(), settings, 1_000)

    def produce(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.broker.produce(value, partition, 1_764_000_000_000)

    def expire(self, below: int) -> None:
        self.broker.expire(Partition(self.topic, 0), below)


class Store:
    """The simulated server behind the verbs of the sink's suite."""

    def __init__(self) -> None:
        self._server = Server()
        self.sink = SimulatedSink(self._server, Scheduler(Random(0)), Network())

    def drop(self, view: str) -> None:
        self._server.gone.add(view)

    def migrate(self) -> None:
        self._server.gone.clear()

    def current(self) -> dict[StepKey, dict[str, Any]]:
        return self._server.rows_current()

    def ledger(self) -> list[dict[str, Any]]:
        return list(self._server.ledger().values())

    def physical(self) -> tuple[int, int]:
        return self._server.physical_rows()


@pytest.fixture  # type: ignore[no-redef]  # instead of the suite's
def kafka_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    scheduler = Scheduler(Random(0))
    virtual = SimpleNamespace(monotonic=lambda: scheduler.now, sleep=scheduler.point, time=lambda: scheduler.now)
    monkeypatch.setattr(test_source, "time", virtual)
    with virtual_time(scheduler):
        yield World(scheduler)


@pytest.fixture  # type: ignore[no-redef]  # instead of the suite's
def store() -> Store:
    return Store()


def test_all_of_both_suites_is_run_here() -> None:
    suites = [name for suite in (test_sink, test_source) for name in vars(suite) if name.startswith("test_")]
    assert suites
    assert all(name in globals() for name in suites)
