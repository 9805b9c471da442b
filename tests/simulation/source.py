"""The real `KafkaSource` on a simulated consumer, with the history kept of what it reads and commits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from pipeline.config import KafkaSettings
from pipeline.contracts import Change, OffsetsLost
from pipeline.errors import SourceUnavailable
from pipeline.kafka import group_internals
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.source import source as source_module
from pipeline.records import Partition, Record
from tests.simulation.broker import Broker
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.network import Network
from tests.simulation.scheduler import Scheduler


class _Connecting:
    """Makes the consumer at once, where the real one has a thread for it."""

    def __init__(self, source: "SimulatedSource") -> None:
        self._source = source

    def result(self, timeout: float) -> Any:
        """Return a consumer, or say that no broker answers."""
        return self._source.connect(timeout)

    def abandon(self) -> None:
        """Nothing is under way."""


class SimulatedSource(KafkaSource):
    """The real source."""

    def __init__(
        self,
        broker: Broker,
        scheduler: Scheduler,
        network: Network,
        settings: KafkaSettings,
        most: int,
        worker_id: str | None = None,
    ) -> None:
        super().__init__(lambda: settings, most, worker_id=worker_id)
        self._broker = broker
        self._scheduler = scheduler
        self._network = network
        self._connecting = _Connecting(self)  # type: ignore[assignment]

    def connect(self, timeout: float) -> SimulatedConsumer:
        """Reach the cluster.

        Raises:
            SourceUnavailable: no broker answers.
        """
        if self._broker.down or self._network.cut:
            self._scheduler.point(timeout)
            raise SourceUnavailable("no broker answers")
        return SimulatedConsumer(self._broker, self._scheduler, self._network, self._inbox, self._worker_id)

    def poll(self, timeout: float, most: int) -> Mapping[Partition, Sequence[Record]]:
        """Poll, and note what the owner gets."""
        polled = super().poll(timeout, most)
        for partition, records in polled.items():
            self._network.delivered(partition, records)
        return polled

    def changes(self) -> Sequence[Change]:
        """Return what happened, and note what is reported lost."""
        changes = super().changes()
        for change in changes:
            if isinstance(change, OffsetsLost):
                self._network.lost(change.partition, change.first, change.last)
        return changes

    def commit(self, offsets: Mapping[Partition, int]) -> frozenset[Partition] | None:
        """Commit, and note what the owner learns."""
        committed = super().commit(offsets)
        if committed is not None:
            self._network.confirmed({partition: offsets[partition] for partition in sorted(committed)})
        return committed


@contextmanager
def virtual_time(scheduler: Scheduler) -> Iterator[None]:
    """Let the source, too, look at no other clock, and at no other group."""
    with (
        patch.object(source_module, "time", SimpleNamespace(monotonic=lambda: scheduler.now)),
        patch.object(group_internals, "unowned", lambda consumer, _, timeout_ms: consumer.unowned(timeout_ms)),
    ):
        yield
