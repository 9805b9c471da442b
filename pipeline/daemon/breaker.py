"""The breaker: keeps full batches away from a sink that fails, and asks it one small question at a time instead.

Owns only the counting of failures; how long to wait in between is `retry`'s. Used by the writer's thread; any may read
`state`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from pipeline.errors import SinkRefused, SinkUnavailable

OPENS_AFTER: Final = 3
"""Failures in a row; a single one is often over by the next attempt."""

T = TypeVar("T")


class BreakerState(StrEnum):
    """Closed lets attempts through, open lets none through, half-open is the moment of the probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Lets attempts through while they succeed; after failures in a row each attempt needs a probe that passes.

    Attributes:
        state: for /status.
        failures: in a row, up to now.
    """

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self.state = BreakerState.CLOSED
        self.failures = 0

    def call(self, attempt: Callable[[], T]) -> T:
        """Make an attempt, behind a probe while open.

        A refusal of rows is an answer: the sink works.

        Raises:
            SinkUnavailable: the probe or the attempt failed.
            SinkRefused: the attempt was refused.
        """
        try:
            if self.state is not BreakerState.CLOSED:
                self.state = BreakerState.HALF_OPEN
                self._probe()
            result = attempt()
        except SinkUnavailable:
            self.failures += 1
            if self.failures >= OPENS_AFTER:
                self.state = BreakerState.OPEN
            raise
        except SinkRefused:
            self.close()
            raise
        self.close()
        return result

    def close(self) -> None:
        """Let attempts through: the sink was seen to work."""
        self.state = BreakerState.CLOSED
        self.failures = 0
