"""When the workers begin to read: together, once each has its share of the partitions.

A worker that read before the others had joined would give up most of its partitions in the middle of its work, and the
shares of what waits in Kafka would be uneven. It is no condition for anything that must hold: where a worker does not
join, the others begin without it.
"""

import time
from collections.abc import Sequence
from typing import Final

import structlog

from pipeline.workers.child import Child

log = structlog.get_logger(__name__)

GATHER_TIMEOUT_S: Final = 10.0
"""Seconds from the first worker in the group on, after which the others are not waited for."""


class Gathering:
    """The workers of a daemon before they read. Used by the supervisor's thread."""

    def __init__(self, count: int, timeout: float) -> None:
        """Begin, with none of so many workers in the group."""
        self._count = count
        self._timeout = timeout
        self._first_at: float | None = None

    def is_over(self, children: Sequence[Child]) -> bool:
        """Return whether all are in one generation of the group and have their shares, or were waited for in vain."""
        generations = [child.report["generation"] for child in children if child.report is not None]
        joined = [generation for generation in generations if generation is not None]
        if len(joined) == self._count and len(set(joined)) == 1:
            log.info("workers_joined", message="all workers are in the group, and begin to read", workers=self._count)
            return True
        if joined and self._first_at is None:
            self._first_at = time.monotonic()
        if self._first_at is None or time.monotonic() - self._first_at < self._timeout:
            return False
        message = "not all workers joined the group in time; those that are in it begin to read"
        log.warning("workers_missing", message=message, workers=self._count, joined=len(joined))
        return True
