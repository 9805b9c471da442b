"""How long to wait before the next attempt, and how often to try what nobody understands.

Owns the back-off: exponential, capped, with jitter so that many workers do not come back in step.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays between attempts, in seconds, without end: what an outage holds up is kept, never given up.

    Attributes:
        first: the first delay.
        longest: no delay is longer.
        unknown_attempts: failures of unknown meaning, in a row, after which the partition is halted.
        chance: source of the jitter.
    """

    first: float = 0.2
    longest: float = 15.0
    unknown_attempts: int = 10
    chance: random.Random = field(default_factory=random.Random)

    def delays(self) -> Iterator[float]:
        """Yield half to all of a delay that doubles."""
        delay = self.first
        while True:
            yield delay * self.chance.uniform(0.5, 1.0)
            delay = min(delay * 2, self.longest)
