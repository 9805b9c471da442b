"""A processor on fakes, to be turned by hand: `rig.turn(lambda: rig.committed() == 2)`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from pipeline.config import BatchSettings, Settings
from pipeline.daemon.attempts import RetryPolicy
from pipeline.daemon.processor import Processor
from pipeline.daemon.writer import Writer
from pipeline.metrics import Metrics
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.kafka import FakeBroker, FakeDeadLetters, FakeSource
from tests.support.fakes.sink import FakeSink


class Rig:
    """A processor on fakes."""

    def __init__(
        self, broker: FakeBroker, sink: FakeSink | None = None, max_rows: int = 1_000, **sections: Any
    ) -> None:
        self.broker = broker
        self.source = FakeSource(broker)
        self.sink = sink or FakeSink()
        self.dead_letters = FakeDeadLetters()
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry, (1.0, 10.0))
        self.writer = Writer(self.sink, self.dead_letters, metrics, self.clock, RetryPolicy(0.01, 0.02, 5), 1_000)
        settings = Settings(**{"batch": BatchSettings(max_rows=max_rows, max_age=1.0), **sections})
        self.processor = Processor(self.source, self.writer, metrics, self.clock, settings)
        self.writer.start()

    def turn(self, until: Callable[[], bool]) -> None:
        """Take turns, a second of the clock each, until something holds."""
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, "it did not come to pass"
            self.clock.advance(1.0)
            self.processor.turn()
            time.sleep(0.001)

    def rows(self) -> list[dict[str, Any]]:
        return list(self.sink.rows_current().values())

    def ledger(self) -> list[dict[str, Any]]:
        return list(self.sink.ledger().values())

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def committed(self, partition: int = 0) -> int:
        return self.broker.committed.get(self.broker.partitions[partition], 0)


@contextmanager
def rig_factory() -> Iterator[Callable[..., Rig]]:
    """Make rigs; end their writers afterwards."""
    made: list[Rig] = []

    def make(broker: FakeBroker, **options: Any) -> Rig:
        made.append(Rig(broker, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.writer.close(5.0)
