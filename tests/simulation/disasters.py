"""What befalls whole processes and servers, and how it is lifted again."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.clickhouse.insert_proof import VIEWS
from pipeline.errors import ErrorClass, SinkUnavailable
from pipeline.records import Partition
from tests.simulation.broker import SESSION_TIMEOUT
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_PROCESSES: Final = 4
MOST_PARTITIONS: Final = 6
_OUTAGES: Final = (ErrorClass.TRANSIENT, ErrorClass.ENVIRONMENT, ErrorClass.AMBIGUOUS, ErrorClass.UNKNOWN)


class Disasters:
    """Does harm to a world, each kind by its name in `plan.DISASTERS`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._chance = world.chance
        self._altered = False
        self._kinds: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "freeze": self._freeze,
            "cut": self._cut,
            "join": self._join,
            "leave": self._leave,
            "sink_outage": self._sink_outage,
            "kafka_outage": self._kafka_outage,
            "memory": self._memory,
            "puzzle": self._puzzle,
            "refusal": self._refusal,
            "wipe": self._wipe,
            "retention": self._retention,
            "growth": self._growth,
            "rewind": self._rewind,
            "drop_view": self._drop_view,
        }

    def befall(self, kind: str) -> None:
        """Do harm."""
        self._world.scheduler.note("disaster", kind)
        self._kinds[kind]()

    def lift(self) -> None:
        """Undo what can be undone; every place has a process again."""
        world = self._world
        self._sink_back()
        self._kafka_back()
        self._swallow()
        self._understand()
        self._accept_rows()
        self._migrate()
        for process in world.running():
            process.thaw()
            process.network.cut = False
        for slot in range(len(world.slots)):
            world.start(slot)

    def _victim(self) -> Process | None:
        running = [process for process in self._world.running() if process.state == "running"]
        return self._chance.choice(running) if running else None

    def _later(self, shortest: float, longest: float, action: Callable[[], None]) -> None:
        self._world.scheduler.after(self._chance.uniform(shortest, longest), action)

    def _restart(self, process: Process) -> None:
        self._later(0.1, 8.0, lambda: self._world.start(process.slot))

    def _kill(self, process: Process) -> None:
        process.kill()
        process.check_counted()
        if process.worker_id is not None and self._chance.random() < 0.3:
            self._later(0.0, 9.0, partial(self._join_late, process.worker_id))
        self._restart(process)

    def _join_late(self, worker_id: str) -> None:
        """Let the coordinator read now what a process had sent before it was killed; its next one may be there."""
        if not self._world.broker.down:
            self._world.scheduler.note("joined late", worker_id)
            self._world.broker.join(None, [], lambda: True, worker_id)

    def _crash(self) -> None:
        process = self._victim()
        if process is not None:
            self._kill(process)

    def _freeze(self) -> None:
        process = self._victim()
        if process is not None:
            process.freeze()
            self._later(0.1, SESSION_TIMEOUT * 2, process.thaw)

    def _cut(self) -> None:
        process = self._victim()
        if process is None:
            return

        def repair() -> None:
            self._world.broker.expire_members()
            process.network.cut = False

        process.network.cut = True
        self._later(0.1, SESSION_TIMEOUT * 2, repair)

    def _join(self) -> None:
        if len(self._world.running()) < MOST_PROCESSES:
            self._world.start(len(self._world.slots))

    def _leave(self) -> None:
        process = self._victim()
        if process is not None:
            process.stop()
            self._later(1.0, 40.0, lambda: self._world.start(process.slot))

    def _sink_outage(self) -> None:
        error_class = self._chance.choice(_OUTAGES)
        self._world.store.down = SinkUnavailable("injected: outage", error_class)
        self._later(0.1, 20.0, self._sink_back)

    def _sink_back(self) -> None:
        self._world.store.down = None
        self._world.store.up_since = self._world.scheduler.now

    def _kafka_outage(self) -> None:
        self._world.broker.down = True
        self._later(0.1, 20.0, self._kafka_back)

    def _kafka_back(self) -> None:
        self._world.broker.expire_members()
        self._world.broker.down = False

    def _memory(self) -> None:
        self._world.store.most_rows = self._chance.randint(0, 4)
        self._later(1.0, 20.0, self._swallow)

    def _swallow(self) -> None:
        self._world.store.most_rows = 1_000_000

    def _puzzle(self) -> None:
        self._world.store.puzzle = int(self._chance.random() * len(self._world.broker.logs))
        self._later(0.1, 30.0, self._understand)

    def _understand(self) -> None:
        self._world.store.puzzle = None

    def _refusal(self) -> None:
        """Change the table, once: twice around one row cannot be distinguished from a row that is at fault."""
        if self._altered:
            return
        self._altered = True
        self._world.store.refuses_all = True
        self._later(0.1, 20.0, self._accept_rows)

    def _accept_rows(self) -> None:
        self._world.store.refuses_all = False

    def _drop_view(self) -> None:
        self._world.store.gone.add(self._chance.choice(sorted(VIEWS)))
        self._later(0.1, 20.0, self._migrate)

    def _migrate(self) -> None:
        self._world.store.gone.clear()

    def _wipe(self) -> None:
        self._world.store.forget_tokens()
        self._world.store.merge()

    def _retention(self) -> None:
        world = self._world
        partition = self._chance.choice(list(world.broker.logs))
        begin, end = world.broker.begins[partition], world.broker.ends[partition]
        below = self._chance.randint(begin, end)
        world.history.expired(partition, below)
        world.broker.expire(partition, below)
        world.scheduler.note("retention", (partition.number, below))

    def _growth(self) -> None:
        if len(self._world.broker.logs) < MOST_PARTITIONS:
            self._world.add_partition()

    def _rewind(self) -> None:
        """Do what an operator does: end all processes, set the group's offsets back, start them again."""
        world = self._world
        for process in world.running():
            self._kill(process)
        partition: Partition = self._chance.choice(list(world.broker.logs))
        committed, begin = world.broker.committed.get(partition), world.broker.begins[partition]
        if committed is None or committed <= begin:
            return
        target = self._chance.randint(begin, committed)
        world.history.rewound(partition, target)
        world.broker.committed[partition] = target
        world.scheduler.note("rewind", (partition.number, target))
