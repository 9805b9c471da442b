"""A clock that tests move."""

import threading


class FakeClock:
    """`contracts.Clock`; only the test moves it, and a wait does not last long."""

    def __init__(self, now: float = 1_764_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Return after a moment of real time, which lets other threads in, and move on by that."""
        self.advance(0.001)
        return event.wait(0.001)

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now += seconds
        self._monotonic += seconds
