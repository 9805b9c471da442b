"""Time and turns: one OS thread, one random source, and greenlets that run one at a time.

Owns the virtual clock and the choice of who runs next. Whatever waits in the simulated world calls `point` or `wait`;
there the scheduler may let any other actor run, and a kill takes effect there. Nothing depends on real time.
"""

import threading
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from greenlet import GreenletExit, greenlet

from pipeline.daemon.processor import TURN_S

EPOCH: Final = 1_764_000_000.0
"""Seconds since the epoch at which every simulated world begins."""
REMEMBERED: Final = 60
"""Entries of the trace that are kept for the report of a failure."""


class Actor:
    """A thread of a simulated process: runs until it waits.

    Attributes:
        name: for the trace.
        wake_at: when its wait ends.
        event: what ends its wait before.
        frozen: it gets no turn, as after SIGSTOP.
        dead: it never gets a turn again.
        failure: the exception that ended it.
    """

    def __init__(self, name: str, life: Callable[[], None], hub: greenlet) -> None:
        self.name = name
        self.wake_at = 0.0
        self.event: threading.Event | None = None
        self.frozen = False
        self.dead = False
        self.failure: BaseException | None = None
        self.greenlet = greenlet(lambda: self._live(life), parent=hub)

    def _live(self, life: Callable[[], None]) -> None:
        try:
            life()
        except Exception as error:  # noqa: BLE001 - a bug in what is tested; the oracle tells
            self.failure = error
        self.dead = True


class Scheduler:
    """Decides, from its random source alone, who runs next.

    Attributes:
        now: virtual seconds since the world began.
        chance: the only source of randomness.
        trace: (seconds, who, what) of what happened, the latest of it.
        turns: how many were given.
        lag: how often a point takes longer than it should, as a probability.
        slow: how often an owner is slower than its loop allows, as a probability.
    """

    def __init__(self, chance: Random, keep: int | None = REMEMBERED) -> None:
        self.now = 0.0
        self.chance = chance
        self.trace: deque[tuple[float, str, str, Any]] = deque(maxlen=keep)
        self.turns = 0
        self.lag = 0.0
        self.slow = 0.0
        self._actors: list[Actor] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._running: Actor | None = None
        self._killing = False
        self._hub = greenlet.getcurrent()

    def note(self, what: str, detail: Any = "") -> None:
        """Add to the trace."""
        who = "world" if self._running is None else self._running.name
        self.trace.append((self.now, who, what, detail))

    def spawn(self, name: str, life: Callable[[], None]) -> Actor:
        """Let something begin to run."""
        actor = Actor(name, life, self._hub)
        actor.wake_at = self.now
        self._actors.append(actor)
        return actor

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, in the world's own name."""
        self._timer_number += 1
        heappush(self._timers, (self.now + seconds, self._timer_number, action))

    def point(self, seconds: float = 0.0) -> None:
        """Let others run; return after so many seconds at the earliest."""
        actor = self._running
        if actor is None:
            self._pass_alone(seconds)
            return
        if self.lag and self.chance.random() < self.lag:
            seconds += self.chance.expovariate(1.0)
        actor.wake_at = self.now + seconds
        self._hub.switch()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, at most so many seconds; return whether it is set."""
        actor = self._running
        if actor is None:
            self._pass_alone(seconds)
            return event.is_set()
        actor.event, actor.wake_at = event, self.now + seconds
        self._hub.switch()
        actor.event = None
        return event.is_set()

    def step(self) -> bool:
        """Let one actor run, or time pass where none is ready; return whether an actor has ended."""
        if self._timers:
            self._fire()
        now = self.now
        ready = [
            actor
            for actor in self._actors
            if not actor.frozen and (actor.wake_at <= now or (actor.event is not None and actor.event.is_set()))
        ]
        if not ready:
            coming = [actor.wake_at for actor in self._actors if not actor.frozen]
            coming += [timer[0] for timer in self._timers[:1]]
            self.now = max(now, min(coming, default=now + 1.0))
            return False
        self.turns += 1
        return self._resume(ready[int(self.chance.random() * len(ready))])

    def kill(self, actor: Actor) -> None:
        """End an actor where it is; what it would still do on the way out has no effect on the world."""
        actor.dead = True
        self._actors = [other for other in self._actors if other is not actor]
        if actor.greenlet:
            self._killing = True
            actor.greenlet.throw(GreenletExit)
            self._killing = False

    def close(self) -> None:
        """End all actors."""
        for actor in list(self._actors):
            self.kill(actor)

    def _pass_alone(self, seconds: float) -> None:
        """Let time pass for a caller that is no actor: a test, or one that is being killed: it goes no further."""
        if self._killing:
            raise GreenletExit
        self.now += seconds

    def _resume(self, actor: Actor) -> bool:
        self._running = actor
        actor.greenlet.switch()
        self._running = None
        if actor.dead:
            self._actors = [other for other in self._actors if other is not actor]
        return actor.dead

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heappop(self._timers)[2]()


class VirtualClock:
    """`contracts.Clock` of a simulated process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> float:
        """Return seconds since the epoch."""
        return EPOCH + self._scheduler.now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return 1_000.0 + self._scheduler.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most `seconds`; return whether it is."""
        return self._scheduler.wait(event, seconds)


class OwnersClock(VirtualClock):
    """The clock that the loop looks at: now and then a few records took longer than a turn may."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        scheduler = self._scheduler
        if scheduler.slow and scheduler.chance.random() < scheduler.slow:
            scheduler.point(1.5 * TURN_S)
        return super().monotonic()
