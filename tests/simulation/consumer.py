"""kafka-python's consumer on the fake `broker`, as far as the source uses it, so that the real source runs.

Owns the client's habits: callbacks in the middle of `poll`, an assignment that may be stale, positions that move when
records are taken though `poll` may still raise, no exception while the brokers are away. Every request is a point where
others run, the process is killed or frozen, and the answer may be lost.
"""

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.kafka.source.consumer import Inbox
from pipeline.records import Partition
from tests.simulation.broker import Broker, Fenced, InstanceFenced, Rebalancing, Unreachable
from tests.simulation.network import LATENCY, Network
from tests.simulation.scheduler import Scheduler
from tests.support.fakes.kafka import FakeRecord

_NOBODY: Final = ""


class _State:
    """What the client knows of one partition."""

    def __init__(self) -> None:
        self.position: OffsetAndMetadata | None = None
        self.highwater: int | None = None
        self.paused = False


class _Subscription:
    """The part of `SubscriptionState` that the source reaches into."""

    def __init__(self) -> None:
        self.assignment: dict[TopicPartition, _State] = {}

    def seek(self, partition: TopicPartition, position: OffsetAndMetadata) -> None:
        """Read on there."""
        self.assignment[partition].position = position


class SimulatedConsumer:
    """A subscribed `KafkaConsumer` with the cooperative assignor and no reset policy."""

    def __init__(
        self, broker: Broker, scheduler: Scheduler, network: Network, inbox: Inbox, instance: str | None = None
    ) -> None:
        self._broker = broker
        self._instance = instance
        self._fenced = False
        self._rejoin = False
        self._scheduler = scheduler
        self._network = network
        self._listener = inbox
        self._member: str | None = None
        self._generation = -1
        self._syncing = False
        self._subscription = _Subscription()
        self._cluster = SimpleNamespace(
            topic_id=lambda _: None,
            brokers=lambda: [SimpleNamespace(node_id=1)],
            broker_metadata=lambda _: SimpleNamespace(host="broker", port=9092),
            leader_for_partition=lambda _: 1,
            partitions_for_topic=lambda _: range(len(broker.logs)),
            _coordinators={},
            _last_successful_refresh_ms=0.0,
        )
        self._manager = SimpleNamespace(
            _conns={1: SimpleNamespace(connected=True, transport=None)}, cluster=self._cluster
        )
        self._client = SimpleNamespace(throttle_delay=lambda _: 0, connected=lambda _: True)
        self.throttled = SimpleNamespace(measure=lambda *_: 0.0)
        self.config = {"partition_assignment_strategy": [SimpleNamespace(members=None)]}
        self._coordinator = SimpleNamespace(need_rejoin=lambda: self._rejoin, request_rejoin=self._request_rejoin)

    # what is assigned to this member

    def assignment(self) -> set[TopicPartition]:
        """Return what is assigned to this member, as far as it knows."""
        return set(self._subscription.assignment)

    def group_metadata(self) -> Any:
        """Return whether we are a member."""
        stable = self._member is not None and not self._syncing
        state = MemberState.STABLE if stable else MemberState.REBALANCING
        return SimpleNamespace(state=state, generation_id=self._generation)

    def pause(self, *partitions: TopicPartition) -> None:
        """Deliver nothing of those that are assigned now."""
        for partition in partitions:
            self._subscription.assignment[partition].paused = True

    def resume(self, *partitions: TopicPartition) -> None:
        """Deliver them again."""
        for partition in partitions:
            self._subscription.assignment[partition].paused = False

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on there."""
        self._subscription.seek(partition, OffsetAndMetadata(offset, "", -1))

    # requests

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[FakeRecord]]:
        """Follow the group, and return what there is at once or comes in time.

        Raises:
            NoOffsetForPartitionError: a partition has neither position nor committed offset.
            OffsetOutOfRangeError: the log does not reach to a position.
            KafkaConnectionError: after records were taken, which are lost for the caller.
        """
        self._scheduler.point(LATENCY)
        taken: dict[TopicPartition, list[FakeRecord]] = {}
        for wait in (timeout_ms / 1000, 0.0):
            try:
                self._keep_membership()
                taken = self._take(max_records)
            except Unreachable:
                taken = {}
            if taken or not wait:
                break
            self._scheduler.point(wait)
        if self._network.fault("poll"):
            raise KafkaConnectionError("injected: the next fetch cannot be sent")
        return taken

    def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], timeout_ms: int) -> None:
        """Commit whatever is asked for: the coordinator does not look whose it is, and neither does the client.

        Raises:
            KafkaError: it was not done, or that is not known.
        """
        plain = {Partition(*partition): mark.offset for partition, mark in sorted(offsets.items())}
        self._ask(timeout_ms, "commit")
        try:
            self._broker.commit(self._member or _NOBODY, self._generation, plain)
        except Fenced as refusal:
            self._scheduler.note("commit fenced", plain)
            self._fenced = False
            raise CommitFailedError("fenced") from refusal
        except InstanceFenced as refusal:
            self._scheduler.note("place taken", plain)
            raise FencedInstanceIdError("fenced") from refusal
        except Rebalancing as refusal:
            raise RebalanceInProgressError("a rebalance is going on") from refusal
        self._scheduler.note("committed", plain)
        self._ask(timeout_ms, "commit_reply")

    def committed(self, partition: TopicPartition, metadata: bool, timeout_ms: int) -> OffsetAndMetadata | None:
        """Return the group's offset; the source asks for it when it starts a partition, and for nothing else."""
        self._ask(timeout_ms, "start")
        self._network.started(Partition(*partition))
        offset = self._broker.committed.get(Partition(*partition))
        return None if offset is None else OffsetAndMetadata(offset, "", -1)

    def beginning_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Return the first offsets there are."""
        self._ask(timeout_ms, "start")
        return {partition: self._broker.begins[Partition(*partition)] for partition in partitions}

    def end_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Return the offsets behind the last records."""
        self._ask(timeout_ms, "start")
        return {partition: self._broker.ends[Partition(*partition)] for partition in partitions}

    def unowned(self, timeout_ms: int) -> set[TopicPartition] | None:
        """Return the partitions that no member has, None while the group changes."""
        self._ask(timeout_ms, "start")
        if self._broker.joining:
            return None
        owned = {partition for membership in self._broker.members.values() for partition in membership.assigned}
        return {TopicPartition(*partition) for partition in self._broker.logs if partition not in owned}

    def bootstrap(self, timeout_ms: int, refresh: bool) -> None:
        """Look for the cluster."""
        self._ask(timeout_ms, "start")

    def close(self, autocommit: bool, timeout_ms: int) -> None:
        """Leave the group; without brokers, leave it to the session timeout."""
        if self._member is not None and not self._broker.down and not self._network.cut:
            self._broker.leave(self._member)
        self._member = None

    def _ask(self, timeout_ms: int, request: str) -> None:
        """Reach the brokers, or time out."""
        self._scheduler.point(LATENCY)
        try:
            self._reach()
        except Unreachable:
            self._scheduler.point(timeout_ms / 1000)
            raise KafkaTimeoutError("no broker answers") from None
        if self._network.fault(request):
            self._scheduler.note("lost", request)
            raise KafkaTimeoutError(f"injected: {request}")

    def _reach(self) -> None:
        if self._network.cut:
            raise Unreachable
        self._broker.reach()

    # the group

    def _keep_membership(self) -> None:
        """Join, follow the coordinator, take the assignment; cooperative, so that the rest flows meanwhile."""
        self._reach()
        if self._fenced:
            return
        try:
            if self._member is None or self._rejoin or self._broker.heartbeat(self._member):
                self._join()
            if self._syncing:
                self._take_assignment()
        except InstanceFenced:
            # It has no heartbeats any more, and polls on as if nothing had happened.
            self._fenced = True
        except Fenced:
            lost = list(self._subscription.assignment)
            self._withdraw(lost, self._listener.on_partitions_lost)
            self._member, self._syncing = None, False
            self._join()

    def _join(self) -> None:
        owned = [Partition(*partition) for partition in self._subscription.assignment]
        self._member = self._broker.join(self._member, owned, self._network.silent, self._instance)
        self._syncing, self._rejoin = True, False

    def _request_rejoin(self) -> None:
        self._rejoin = True

    def _take_assignment(self) -> None:
        answer = self._broker.sync(self._member or _NOBODY)
        if answer is None:
            return
        self._generation, assigned = answer
        self._syncing = False
        targets = [TopicPartition(*partition) for partition in assigned]
        held = self._subscription.assignment
        revoked = [partition for partition in held if partition not in targets]
        self._withdraw(revoked, self._listener.on_partitions_revoked)
        added = [partition for partition in targets if partition not in held]
        for partition in added:
            held[partition] = _State()
        if added:
            self._scheduler.note("assigned", [partition.partition for partition in added])
            self._listener.on_partitions_assigned(added)
        if revoked:
            self._join()

    def _withdraw(self, partitions: list[TopicPartition], tell: Callable[[Iterable[TopicPartition]], None]) -> None:
        if partitions:
            self._scheduler.note(tell.__name__, [partition.partition for partition in partitions])
            for partition in partitions:
                del self._subscription.assignment[partition]
            tell(partitions)

    # the log

    def _take(self, most: int) -> dict[TopicPartition, list[FakeRecord]]:
        """Take records, moving the positions."""
        self._find_positions()
        taken: dict[TopicPartition, list[FakeRecord]] = {}
        for partition, state in self._subscription.assignment.items():
            if state.paused or state.position is None or most <= 0:
                continue
            offset = state.position.offset
            begin, records = self._broker.fetch(Partition(*partition), offset, most)
            if not begin <= offset <= self._broker.ends[Partition(*partition)]:
                raise OffsetOutOfRangeError({partition: offset})
            behind = records[-1].offset + 1 if records else offset
            if len(records) < most:
                behind = self._broker.ends[Partition(*partition)]
            state.position = OffsetAndMetadata(behind, "", 0)
            if records:
                most -= len(records)
                taken[partition] = list(records)
        return taken

    def _find_positions(self) -> None:
        for partition, state in self._subscription.assignment.items():
            if state.position is None:
                committed = self._broker.committed.get(Partition(*partition))
                if committed is None:
                    raise NoOffsetForPartitionError(partition)
                state.position = OffsetAndMetadata(committed, "", -1)
