"""Whether the daemon would reject a replayed record again, tried without Kafka and ClickHouse.

Owns that question only. What ClickHouse rejects (`refused_by_sink`) is seen when the row is inserted, not here.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from pipeline.config import Settings
from pipeline.normalize.normalize import Rules, normalize
from pipeline.records import Unstored
from pipeline.tools.dlq.transactions import Outgoing


class _Replayed(NamedTuple):
    """A record as the daemon would read it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Trial:
    """What the daemon with these settings would make of a record.

    Attributes:
        topics: those that it reads.
        rules: how it normalizes.
    """

    topics: Collection[str]
    rules: Rules

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the trial for a daemon with these settings."""
        return cls(settings.kafka.topics, Rules.of(settings.normalize))

    def rejection(self, record: Outgoing) -> Unstored | None:
        """Return why the daemon would reject the record; None where it would not, or does not read its topic."""
        if record.topic not in self.topics:
            return None
        topic, partition, key, value, headers = record
        read = _Replayed(topic, partition or 0, 0, time.time_ns() // 1_000_000, key, value, headers)
        for rejected in normalize([read], self.rules).dead_letters:
            return Unstored(rejected.reason, rejected.stage, rejected.detail)
        return None
