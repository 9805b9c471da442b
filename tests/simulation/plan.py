"""What one seed suffers from: a random small world, and a random subset of the faults there are.

Fewer kinds at a time find more than all at once ("swarm testing"): a fault that is always on hides what only happens
without it.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.simulation.events import Mix
from tests.simulation.store import INSERT_FAULTS

REQUEST_FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "insert": INSERT_FAULTS,
    "letters": ("before", "partly", "after"),
    "commit": ("failed",),
    "commit_reply": ("lost",),
    "start": ("failed",),
    "query": ("failed",),
    "probe": ("failed",),
    "poll": ("raises",),
}
"""Kinds of fault by the request that meets them."""

DISASTERS: Final = (
    "crash",
    "freeze",
    "cut",
    "join",
    "leave",
    "sink_outage",
    "kafka_outage",
    "memory",
    "puzzle",
    "refusal",
    "wipe",
    "retention",
    "growth",
    "rewind",
    "drop_view",
)
"""What befalls processes and servers; `disasters` knows how."""


@dataclass
class Plan:
    """The world of one seed.

    Attributes:
        requests: enabled faults by request.
        disasters: enabled ones.
        request_rate: probability that a request meets an enabled fault.
        disaster_rate: probability of a disaster before a turn.
        budget: disasters until the storm is over.
        storm: seconds after which it is over in any case.
        lag: probability that something takes longer than it should.
        carried: rows of the largest insert that the way to ClickHouse carries, for ever.
        slow: probability that a few records take all of a turn, and that the rest waits for the next one.
    """

    processes: int
    partitions: int
    records: int
    max_rows: int
    poll_records: int
    window: int
    ledger_first: bool
    gaps: float
    mix: Mix
    request_rate: float
    disaster_rate: float
    budget: int
    storm: float
    lag: float
    carried: int
    slow: float
    requests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    disasters: tuple[str, ...] = ()

    @classmethod
    def draw(cls, chance: Random) -> "Plan":
        """Return a plan."""
        plan = cls(
            processes=chance.choice((1, 2, 2, 3)),
            partitions=chance.choice((1, 2, 2, 3, 4)),
            records=chance.randint(8, 50),
            max_rows=chance.choice((1, 2, 3, 5, 8)),
            poll_records=chance.choice((1, 2, 4, 8)),
            window=chance.choice((1, 2, 10, 1_000)),
            ledger_first=chance.random() < 0.3,
            gaps=chance.choice((0.0, 0.0, 0.2)),
            mix=Mix(*[chance.choice(shares) for shares in [(0.0, 0.0, 0.1)] * 4 + [(0.0, 0.2)]]),
            request_rate=chance.choice((0.02, 0.08, 0.2)),
            disaster_rate=chance.choice((0.005, 0.02, 0.06)),
            budget=chance.randint(1, 8),
            storm=chance.uniform(5.0, 60.0),
            lag=chance.choice((0.0, 0.01, 0.1)),
            carried=chance.choice((1_000_000, 1_000_000, 1_000_000, 1_000_000, 2, 1)),
            slow=chance.choice((0.0, 0.0, 0.1, 0.4)),
        )
        if plan.mix.poison:
            # A process to which no step has ever passed waits for one before it blames a row: batches need some good.
            plan.max_rows, plan.slow = 16, 0.0
        for request, faults in REQUEST_FAULTS.items():
            plan.requests[request] = tuple(fault for fault in faults if chance.random() < 0.35)
        plan.disasters = tuple(name for name in DISASTERS if chance.random() < 0.35)
        return plan
