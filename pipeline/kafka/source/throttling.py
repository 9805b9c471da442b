"""Notices that brokers slow this member down by a quota: it is to send nothing for a while, which is not silence.

Used by the owner's thread, but for the attributes.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from pipeline.kafka.internals import throttled_seconds

log = structlog.get_logger(__name__)

WINDOW_S: Final = 60.0
"""How far the remark looks back."""


class Throttling:
    """Adds up the pauses that brokers order.

    Attributes:
        seconds: ordered since the process started; by several brokers at a time, each counts.
        remark: what was ordered lately and what to do about it, or None.
    """

    def __init__(self, client_id: str, now: Callable[[], float] = time.monotonic) -> None:
        self._fix = f"raise consumer_byte_rate or request_percentage for client id {client_id!r} or its user"
        self._now = now
        self._of_former_consumers = 0.0
        self._seen = deque([(now(), 0.0)])
        self.seconds = 0.0
        self.remark: str | None = None

    def look(self, consumer: Any) -> None:
        """Take in what was ordered since the last look."""
        now = self._now()
        self.seconds = self._of_former_consumers + throttled_seconds(consumer)
        self._seen.append((now, self.seconds))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        self._remark(self.seconds - self._seen[0][1])

    def leave(self, consumer: Any) -> None:
        """Keep what a consumer had to wait that is closed now."""
        self.look(consumer)
        self._of_former_consumers = self.seconds

    def _remark(self, lately: float) -> None:
        before = self.remark
        waits = f"a broker's quota slows reading: within the last minute it ordered pauses of {lately:.1f} s"
        self.remark = f"{waits}; {self._fix}" if lately else None
        if self.remark and not before:
            log.warning("quota_slows", message="a broker's quota slows reading", cause=self.remark)
        elif before and not self.remark:
            log.info("quota_ended", message="no broker's quota slows reading any more", seconds=round(self.seconds, 1))
