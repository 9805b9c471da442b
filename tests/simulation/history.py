"""The history of one simulated world: what was produced, delivered, committed, counted and lost, and what is wrong.

Written by the fakes at the moment when something happens, so that a promise which is broken only for a moment is seen,
too. Knows nothing of how the pipeline works.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pipeline.records import Partition
from tests.simulation.broker import Broker
from tests.simulation.events import Event
from tests.simulation.store import DeadLetter, Server

Place = tuple[Partition, int]


class Violation(Exception):
    """A promise was broken; the message begins with its name."""


class History:
    """What happened.

    Attributes:
        events: what was produced, by partition and offset.
        stamps: the records' timestamps.
        counted: how often a process learned that its commit covered a record, and so had to count it.
        doubtful: offsets that were committed by a process which has not learned of it.
        lost: offsets that were reported lost.
        unseen: offsets that Kafka dropped before the group had committed anything: no member can know of them.
        rewinds: by place, how often an operator made the group read it again.
    """

    def __init__(self, broker: Broker, server: Server, dead_letters: list[DeadLetter]) -> None:
        self._broker = broker
        self._server = server
        self._dead_letters = dead_letters
        self._durable: dict[Partition, int] = defaultdict(int)
        self.events: dict[Place, Event] = {}
        self.stamps: dict[Place, int] = {}
        self.counted: Counter[Place] = Counter()
        self.doubtful: set[Place] = set()
        self.lost: set[Place] = set()
        self.unseen: set[Place] = set()
        self.rewinds: Counter[Place] = Counter()

    def produced(self, partition: Partition, offset: int, timestamp: int, event: Event) -> None:
        """Take note of a record."""
        self.events[partition, offset] = event
        self.stamps[partition, offset] = timestamp

    def of(self, partition: Partition) -> list[int]:
        """Return the offsets of a partition's records, expired ones included."""
        return [offset for where, offset in self.events if where == partition]

    def expired(self, partition: Partition, below: int) -> None:
        """Take note that retention drops records."""
        if partition not in self._broker.committed:
            self.unseen.update((partition, offset) for offset in self.of(partition) if offset < below)

    def rewound(self, partition: Partition, offset: int) -> None:
        """Take note that an operator set the group's offset back."""
        before = self._broker.committed.get(partition, 0)
        for place in self.events:
            if place[0] == partition and offset <= place[1] < before:
                self.rewinds[place] += 1

    def reported_lost(self, partition: Partition, first: int, last: int) -> None:
        """Take note of a report of loss.

        Raises:
            Violation: Kafka still holds such an offset, or the group had dealt with it.
        """
        if last >= self._broker.begins[partition] or first < self._broker.committed.get(partition, 0):
            raise Violation(f"I1 {partition} {first}-{last} is reported lost and is not")
        self.lost.update((partition, offset) for offset in range(first, last + 1))

    def check_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Make sure that everything below what is about to be committed is durable (I5).

        Raises:
            Violation: it is not.
        """
        for partition, next_offset in offsets.items():
            for offset in self.of(partition):
                if self._durable[partition] <= offset < next_offset and (partition, offset) not in self.gone():
                    self.check_durable((partition, offset), f"I5 commit of {next_offset}")
            self._durable[partition] = max(self._durable[partition], next_offset)

    def gone(self) -> set[Place]:
        """Return the places for which nothing can be asked of the tables."""
        return self.lost | self.unseen

    def check_durable(self, place: Place, rule: str) -> None:
        """Make sure that a record is in the ledger, its steps in `run_steps`, its dead letter in the topic.

        Raises:
            Violation: it is not.
        """
        partition, offset = place
        event = self.events[place]
        for index, ((outcome, _), step) in enumerate(zip(event.rows, event.steps, strict=True)):
            found = self._server.holds(partition, offset, self.stamps[place], index)
            if found != outcome:
                raise Violation(f"{rule}: {partition.number}@{offset}[{index}] is {found} in the ledger, not {outcome}")
            if step is not None:
                row = self._server.current_of(step.key)
                if row is None or _rank(row) < step.rank(offset):
                    raise Violation(f"{rule}: {partition.number}@{offset}[{index}] is not in run_steps")
        if event.outcome == "dead_lettered" and not self._has_dead_letter(place):
            raise Violation(f"{rule}: {partition.number}@{offset} has no dead letter")

    def _has_dead_letter(self, place: Place) -> bool:
        event = self.events[place]
        return any(
            (dead_letter.partition, dead_letter.offset) == place
            and dead_letter.value == event.value
            and dead_letter.reason == event.reason
            for dead_letter in self._dead_letters
        )

    def check_no_surplus(self) -> None:
        """Make sure that nothing is in the tables or among the dead letters that should not be, and nothing twice.

        Raises:
            Violation: something is.
        """
        rows = list(self._server.ledger().values())
        keys = [(row["kafka_topic"], row["kafka_partition"], row["kafka_offset"], row["step_index"]) for row in rows]
        _check_unique(keys, "I2 the ledger shows twice")
        _check_unique([row_id(row) for row in self._server.visible_steps()], "I2 run_steps shows twice")
        for topic, number, offset, index in keys:
            event = self.events.get((Partition(topic, number), offset))
            if event is None or index >= len(event.rows):
                raise Violation(f"I1 the ledger has {number}@{offset}[{index}], which was not produced")
        for dead_letter in self._dead_letters:
            if self.events[dead_letter.partition, dead_letter.offset].outcome != "dead_lettered":
                raise Violation(f"I1 {dead_letter.partition.number}@{dead_letter.offset} is good and was dead-lettered")

    def check_current(self) -> None:
        """Make sure that `run_steps` shows each step's latest state, by the truth and by the ledger (I3).

        Raises:
            Violation: it does not.
        """
        best: dict[tuple[str, str, str], tuple[bool, int, int]] = {}
        gone = self.gone()
        for place, event in self.events.items():
            for step in event.steps:
                if step is not None and place not in gone:
                    best[step.key] = max(best.get(step.key, (False, 0, -1)), step.rank(place[1]))
        for row in self._server.visible_steps():
            rank, key = _rank(row), row_id(row)
            if rank != best.get(key) and not any(p[1] == rank[2] for p in gone):
                raise Violation(f"I3 run_steps shows {key} as of {rank}, not {best.get(key)}")
            best.pop(key, None)
        if best:
            raise Violation(f"I3 run_steps misses {sorted(best)[:3]}")

    def check_counts(self) -> None:
        """Make sure that each record was counted once, again only for an operator, and never silently not at all (I4).

        Raises:
            Violation: it was not.
        """
        gone = self.gone()
        for place in self.events:
            count, most = self.counted[place], 1 + self.rewinds[place]
            if count > most:
                raise Violation(f"I4 {place[0].number}@{place[1]} was counted {count} times")
            if not count and place not in gone and place not in self.doubtful:
                raise Violation(f"I4 {place[0].number}@{place[1]} was never counted")

    def check_steps(self, steps: Counter[str]) -> None:
        """Make sure that each ended step is counted as often as its first terminal record was (I4).

        Where no process counted that record (lost, or a commit in doubt), another may have been counted instead.

        Args:
            steps: how often the metrics of all processes counted a step, by step id.
        """
        first: dict[str, Place] = {}
        again: Counter[str] = Counter()
        for place, event in sorted(self.events.items()):
            for step in event.steps:
                if step is not None and step.ended():
                    first.setdefault(step.key[2], place)
                    again[step.key[2]] = max(again[step.key[2]], self.rewinds[place])
        for step_id, place in first.items():
            expected = self.counted[place]
            if steps[step_id] > 1 + again[step_id]:
                raise Violation(f"I4 {step_id} was counted {steps[step_id]} times")
            if expected and steps[step_id] != expected:
                raise Violation(f"I4 {step_id} was counted {steps[step_id]} times, not {expected}")
        surplus = sorted(steps.keys() - first.keys())
        if surplus:
            raise Violation(f"I4 {surplus[:3]} were counted and never ended")


def row_id(row: Mapping[str, object]) -> tuple[str, str, str]:
    """Return a row's step key."""
    return str(row["thread_id"]), str(row["run_id"]), str(row["step_id"])


def _rank(row: Mapping[str, object]) -> tuple[bool, int, int]:
    ended = row["ended_at"]
    return ended is not None, int(str(row["created_at"] if ended is None else ended)), int(str(row["kafka_offset"]))


def _check_unique(keys: Sequence[object] | Iterable[object], rule: str) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise Violation(f"{rule}: {twice[:3]}")
