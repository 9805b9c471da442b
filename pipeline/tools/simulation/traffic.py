"""What the traffic is like, and the order in which its events are delivered.

Runs start at random moments of a simulated time line and overlap as real ones do. Each event is delivered when it
happens, later (out of order), or twice; poison and foreign records are mixed in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count as counter
from itertools import islice
from typing import Final

from pipeline.tools.simulation import noise
from pipeline.tools.simulation.runs import FLAVOURS, Run, lifecycle, lives, page
from pipeline.tools.simulation.seeded_random import SeededRandom, Weighted
from pipeline.tools.simulation.truth import SimulatedEvent

_SPAN_S: Final = 3_600.0
_ENDLESS_RATE_PER_S: Final = 50.0
_ONGOING: Final = frozenset({"created", "in_progress"})
_THREADS: Final = 512
_ASSISTANTS: Final = 24
_TENANTS: Final = ("acme", "globex", "initech", "umbrella")
_NEW_THREAD_SHARE: Final = 0.4
_METADATA_SHARE: Final = 0.25
_FLAVOURS_WITH_METADATA: Final = frozenset({"specification", "js_agents", "js_assistants"})


@dataclass(frozen=True)
class Traffic:
    """What the traffic is like; the same values make the same bytes.

    Ratios are shares between 0 and 1: `failure_ratio` of steps end failed, expired or cancelled; `out_of_order_ratio`
    of the events before a step's end are delivered after it; `duplicate_ratio` of all events are delivered twice,
    terminal ones, too; `poison_ratio` and `foreign_ratio` of records are no run step (dead-lettered and ignored);
    `page_ratio` of runs are listed once more when they are over. The three dialect weights need not sum to one. `rate`
    is events per simulated second; None spreads a given number of events over an hour.
    """

    seed: int = 0
    failure_ratio: float = 0.06
    snake: float = 0.45
    camel: float = 0.2
    envelope: float = 0.35
    out_of_order_ratio: float = 0.03
    duplicate_ratio: float = 0.02
    poison_ratio: float = 0.004
    foreign_ratio: float = 0.02
    page_ratio: float = 0.01
    deltas_per_step: float = 1.0
    rate: float | None = None


def beginning(traffic: Traffic, count: int, now: float) -> float:
    """Return the start of a time line on which `count` events end shortly before `now` (seconds since the epoch)."""
    span = _SPAN_S if traffic.rate is None else count / traffic.rate
    return now - span * 1.1 - 120


def events(traffic: Traffic, count: int | None, start_time: float) -> Iterator[SimulatedEvent]:
    """Yield `count` events in the order of their delivery, or events without end.

    The time line begins at `start_time` (seconds since the epoch). Steps that have not ended when the number is
    reached stay open, as they do in any excerpt of real traffic. Not for several threads.
    """
    return islice(_mixed(SeededRandom(traffic.seed), traffic, _rate(traffic, count), start_time), count)


def _rate(traffic: Traffic, count: int | None) -> float:
    if traffic.rate is not None:
        return traffic.rate
    return _ENDLESS_RATE_PER_S if count is None else max(count / _SPAN_S, 0.1)


def _mixed(rng: SeededRandom, traffic: Traffic, rate: float, start_time: float) -> Iterator[SimulatedEvent]:
    poisoned = traffic.poison_ratio
    strange = poisoned + traffic.foreign_ratio
    for event in _delivered(rng, traffic, rate, start_time):
        share = rng.random()
        while share < strange:
            yield noise.poison(rng, event.at) if share < poisoned else noise.foreign(rng, event.at)
            share = rng.random()
        yield event


def _delivered(rng: SeededRandom, traffic: Traffic, rate: float, start_time: float) -> Iterator[SimulatedEvent]:
    """Yield events by time; runs start so often that `rate` is kept, however many events a run has."""
    waiting: list[tuple[float, int, SimulatedEvent]] = []
    order = counter()
    cast = _Cast(rng, traffic)
    # A first estimate: a run has about six events.
    runs_begun, events_made = 1, 6
    clock = start_time
    while True:
        for event in _scheduled(rng, traffic, cast.run(clock)):
            heappush(waiting, (event.at, next(order), event))
            events_made += 1
        runs_begun += 1
        clock += rng.expovariate(rate * runs_begun / events_made)
        while waiting and waiting[0][0] <= clock:
            yield heappop(waiting)[2]


def _scheduled(rng: SeededRandom, traffic: Traffic, run: Run) -> Iterator[SimulatedEvent]:
    """Yield a run's events, some of them late and some of them twice."""
    taken = []
    for life in lives(rng, run, traffic.failure_ratio):
        taken.append(life)
        for happened in lifecycle(rng, run, life, traffic.deltas_per_step):
            event = happened
            if event.kind in _ONGOING and rng.random() < traffic.out_of_order_ratio:
                event = event._replace(at=life.end + rng.uniform(0.05, 20))
            yield event
            if rng.random() < traffic.duplicate_ratio:
                yield event._replace(at=event.at + rng.expovariate(1 / 8), repeated=True)
    if rng.random() < traffic.page_ratio:
        yield page(run, taken, taken[-1].end + rng.uniform(1, 30))


class _Cast:
    """The threads, assistants and tenants that take part: a bounded set."""

    def __init__(self, rng: SeededRandom, traffic: Traffic) -> None:
        self._draw = rng
        self._threads = ["thread_" + rng.token() for _ in range(_THREADS)]
        self._assistants = ["asst_" + rng.token() for _ in range(_ASSISTANTS)]
        families = (("snake", traffic.snake), ("camel", traffic.camel), ("envelope", traffic.envelope))
        self._families = Weighted(families)

    def run(self, start: float) -> Run:
        """Return a run that begins at `start`, in a known thread or in a new one that takes its place."""
        rng = self._draw
        slot = int(rng.random() * _THREADS)
        if rng.random() < _NEW_THREAD_SHARE:
            self._threads[slot] = "thread_" + rng.token()
        family = self._families.pick(rng)
        flavour = FLAVOURS[family].pick(rng)
        tagged = flavour in _FLAVOURS_WITH_METADATA and rng.random() < _METADATA_SHARE
        return Run(
            thread_id=self._threads[slot],
            run_id="run_" + rng.token(),
            assistant_id=rng.choice(self._assistants),
            family=family,
            flavour=flavour,
            start=start,
            metadata={"tenant": rng.choice(_TENANTS), "requestId": rng.guid()} if tagged else {},
        )
