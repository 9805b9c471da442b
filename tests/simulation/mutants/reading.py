"""Sources that fall into a trap of Kafka or of its client."""

from typing import Any
from weakref import WeakKeyDictionary

from pipeline.errors import ConfigError
from pipeline.kafka.source import source as source_module
from pipeline.kafka.source.ownership import Ownership
from pipeline.kafka.source.partitions import Partitions
from pipeline.kafka.source.positions import Positions
from pipeline.kafka.source.recovery import Recovery
from pipeline.kafka.source.source import KafkaSource
from pipeline.records import Partition
from tests.simulation.broker import Fenced, InstanceFenced
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.mutants.change import Change


def fenced_commit_taken_for_done() -> list[Change]:
    """Take the coordinator's refusal of a commit for its answer."""
    commit = KafkaSource._commit

    def changed(self: KafkaSource, consumer: Any, marks: Any) -> bool:
        commit(self, consumer, marks)
        return True

    return [(KafkaSource, "_commit", changed)]


def failed_poll_not_rewound() -> list[Change]:
    """Read on where the client is after a poll that raised: what it had taken is lost."""
    return [(Positions, "rewind", lambda *_: None)]


def untimely_records_kept() -> list[Change]:
    """Deliver what a poll returns of a partition before it was started where the committed offset says."""
    start_new = KafkaSource._start_new

    def changed(self: KafkaSource) -> set[Any]:
        start_new(self)
        return set()

    return [(KafkaSource, "_start_new", changed)]


def resumed_where_it_stands() -> list[Change]:
    """Read a halted partition on where the client is, not where it is committed."""

    def changed(self: Partitions, partition: Any) -> None:
        self.halted.pop(Partition(*partition), None)

    return [(Partitions, "start_again", changed)]


def loss_in_a_join_not_reported() -> list[Change]:
    """Keep the partitions of a member that was evicted while it joined, as the unrepaired client does."""

    def changed(self: SimulatedConsumer) -> None:
        self._reach()
        if self._fenced:
            return
        try:
            if self._member is None or self._rejoin or self._broker.heartbeat(self._member):
                self._join()
            if self._syncing:
                self._take_assignment()
        except InstanceFenced:
            self._fenced = True
        except Fenced:
            if not self._syncing:
                self._withdraw(list(self._subscription.assignment), self._listener.on_partitions_lost)
            self._member, self._syncing = None, False
            self._join()

    return [(SimulatedConsumer, "_keep_membership", changed)]


def owners_not_looked_after() -> list[Change]:
    """Leave it to the group's leader that each partition has an owner, also when a restart took its lead away."""
    return [(Ownership, "look_after", lambda *_: None)]


def late_request_ends_the_worker() -> list[Change]:
    """Take the request that a killed worker had sent for another daemon with the same name, and end."""

    def changed(*_: Any) -> str:
        raise ConfigError("another member goes by this name")

    return [(source_module, "ousted", changed)]


def loss_not_reported() -> list[Change]:
    """Read on at the log's start, and say nothing."""
    return [(Recovery, "_report_lost", lambda *_: None)]


def loss_reported_from_a_mark_on() -> list[Change]:
    """Report only what lies behind the last loss; what was read and not committed lies in front of it."""
    report_lost, marks = Recovery._report_lost, WeakKeyDictionary[Any, dict[Any, int]]()

    def changed(self: Recovery, partition: Any, first: int, last: int) -> None:
        below = marks.setdefault(self, {})
        if max(first, below.get(partition, 0)) <= last:
            report_lost(self, partition, max(first, below.get(partition, 0)), last)
            below[partition] = last + 1

    return [(Recovery, "_report_lost", changed)]
