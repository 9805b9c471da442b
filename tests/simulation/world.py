"""One simulated world: built from a seed, haunted while the storm lasts, calmed, drained, judged.

Owns the order of a run and the faults that requests meet; `disasters` owns what befalls whole processes and servers.
"""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final
from unittest.mock import patch

from pipeline.daemon import processor
from pipeline.records import Partition
from tests.simulation.broker import Broker
from tests.simulation.disasters import Disasters
from tests.simulation.events import Event, Producer, is_refused
from tests.simulation.history import History, Violation
from tests.simulation.plan import Plan
from tests.simulation.process import Process, Servers, settings
from tests.simulation.scheduler import EPOCH, REMEMBERED, Scheduler
from tests.simulation.source import virtual_time
from tests.simulation.store import DeadLetter, Server

TIMEOUT_S: Final = 400.0
"""Virtual seconds within which everything must be done once no fault is left."""
SLICE: Final = 2
"""Records that a process reads without a look at its clock: few, so that polls are read in several turns."""
MOST_TURNS: Final = 60_000
"""Turns after which a world is stuck, whatever its clock says."""


class World:
    """Everything there is.

    Attributes:
        plan: what this seed suffers from.
        scheduler: its time.
        processes: all that ever ran.
        slots: which process runs where, None where one is to be started again.
    """

    def __init__(self, seed: int, keep: int | None) -> None:
        self.chance = Random(seed)
        self.plan = plan = Plan.draw(self.chance)
        self.scheduler = Scheduler(self.chance, keep)
        self.scheduler.lag, self.scheduler.slow = plan.lag, plan.slow
        self.broker = Broker(plan.partitions, lambda: self.scheduler.now)
        self.store = Server(plan.window)
        self.store.ledger_first = plan.ledger_first
        self.store.carried = plan.carried
        self.store.refuse = lambda row: is_refused(row["step_id"], row["status"])
        dead_letters: list[DeadLetter] = []
        self.history = History(self.broker, self.store, dead_letters)
        self.servers = Servers(self.broker, self.store, dead_letters, self.history, self.scheduler)
        self.servers.draw_fault = self._draw_fault
        # Every second world has workers: static members, whose next process takes their place.
        self.servers.static = seed % 2 == 1
        self.broker.on_commit = self._accept
        self.processes: list[Process] = []
        self.slots: list[Process | None] = []
        self.stormy = True
        self._over = False
        self._producers = [Producer(self.chance, number, plan.mix) for number in range(plan.partitions)]
        self._unproduced = plan.records
        self._disasters = Disasters(self)

    def run(self) -> None:
        """Live through it.

        Raises:
            Violation: a promise was broken.
        """
        try:
            for _ in range(self.plan.processes):
                self.start(len(self.slots))
            self._produce(self.plan.records // 2)
            self._storm()
            self._drain()
            self._end()
            self._judge()
        finally:
            self.scheduler.close()

    def start(self, slot: int) -> None:
        """Start a process, in a new place or where one has ended."""
        if slot == len(self.slots):
            self.slots.append(None)
        old = self.slots[slot]
        if self._over or (old is not None and old.alive()):
            return
        self.scheduler.note("start", f"p{len(self.processes)} in place {slot}")
        own = settings(self.plan.max_rows, self.plan.poll_records)
        process = self.slots[slot] = Process(slot, len(self.processes), self.servers, own)
        self.processes.append(process)

    def add_partition(self) -> None:
        """Let the topic grow."""
        self.broker.grow(1)
        self._producers.append(Producer(self.chance, len(self._producers), self.plan.mix))

    def running(self) -> list[Process]:
        """Return the processes that are alive, frozen ones included."""
        return [process for process in self.processes if process.alive()]

    def _produce(self, count: int) -> None:
        for _ in range(min(count, self._unproduced)):
            self._unproduced -= 1
            number = int(self.chance.random() * len(self._producers))
            if self.chance.random() < self.plan.gaps:
                self.broker.skip(number, self.chance.randint(1, 3))
            self._append(number, self._producers[number].make())

    def _append(self, number: int, event: Event) -> None:
        timestamp = int((EPOCH + self.scheduler.now) * 1000) - 1_000 + self._unproduced
        offset = self.broker.produce(event.value, number, timestamp)
        self.history.produced(Partition(self.broker.topic, number), offset, timestamp, event)

    def _storm(self) -> None:
        """Let things happen, until the budget is spent or the time is over."""
        plan, chance = self.plan, self.chance
        budget = plan.budget if plan.disasters else 0
        while self.scheduler.now < plan.storm and (budget or self._unproduced):
            if budget and chance.random() < plan.disaster_rate:
                budget -= 1
                self._disasters.befall(chance.choice(plan.disasters))
            if self._unproduced and chance.random() < 0.02:
                self._produce(chance.randint(1, 6))
            self._step()
        self._produce(self._unproduced)

    def _drain(self) -> None:
        """Lift all faults, let one more good record come to each partition; everything must then be done in time."""
        self.stormy = False
        self._disasters.lift()
        self.scheduler.note("calm")
        for number, producer in enumerate(self._producers):
            self._append(number, producer.make_good())
        deadline = self.scheduler.now + TIMEOUT_S
        while not self._drained():
            if self.scheduler.now > deadline:
                raise Violation(f"L1 not drained: {self._left()}")
            if not self.running():
                self.start(0)
            for _ in range(10):
                self._step()

    def _end(self) -> None:
        """Ask all processes to end."""
        self._over = True
        deadline = self.scheduler.now + TIMEOUT_S
        for process in self.running():
            process.stop()
        while self.running():
            if self.scheduler.now > deadline:
                raise Violation("L2 a process does not end")
            self._step()

    def _step(self) -> None:
        if self.scheduler.turns > MOST_TURNS:
            raise Violation(f"L1 stuck: {self._left()}")
        ended = self.scheduler.step()
        for process in self.processes if ended else ():
            bug = process.bug()
            if isinstance(bug, Violation):
                raise bug
            if bug is not None:
                raise Violation(f"B1 {process.name} ended: {type(bug).__name__}: {bug}") from bug

    def _drained(self) -> bool:
        committed, gone = self.broker.committed, self.history.gone()
        return all(
            offset < committed.get(partition, 0) or (partition, offset) in gone
            for partition, offset in self.history.events
        )

    def _left(self) -> str:
        ends = {partition.number: end for partition, end in self.broker.ends.items()}
        committed = {partition.number: offset for partition, offset in self.broker.committed.items()}
        return f"ends {ends}, committed {committed}, {[(p.name, p.state) for p in self.running()]}"

    def _judge(self) -> None:
        """Apply the oracle."""
        gone = self.history.gone()
        for place in self.history.events:
            if place not in gone:
                self.history.check_durable(place, "I1")
        self.history.check_no_surplus()
        self.history.check_current()
        self.history.check_counts()
        steps: Counter[str] = Counter()
        for process in self.processes:
            process.check_counted()
            steps.update(process.metrics.steps)
        self.history.check_steps(steps)

    def _draw_fault(self, request: str) -> str:
        kinds = self.plan.requests[request]
        if not self.stormy or not kinds or self.chance.random() >= self.plan.request_rate:
            return ""
        return self.chance.choice(kinds)

    def _accept(self, member: str, offsets: Mapping[Partition, int]) -> None:
        silent = self.broker.members[member].silent
        network = next(process.network for process in self.processes if process.network.silent == silent)
        network.accepted(offsets)


class Failure(AssertionError):
    """A seed in which a promise was broken.

    Attributes:
        seed: which one.
        world: as it stood then.
    """

    def __init__(self, seed: int, world: World, violation: Violation) -> None:
        super().__init__(str(violation))
        self.seed = seed
        self.world = world


def simulate(seed: int, keep: int | None = REMEMBERED) -> World:
    """Live through the world of a seed.

    Args:
        seed: decides everything.
        keep: entries of the trace to keep, None for all.

    Raises:
        Failure: a promise was broken.
    """
    world = World(seed, keep)
    try:
        with virtual_time(world.scheduler), patch.object(processor, "SLICE", SLICE):
            world.run()
    except Violation as violation:
        raise Failure(seed, world, violation) from violation
    return world
