"""Real Kafka and a group that changes: partitions that come, members that go, and commits that come too late."""

import threading
import time
from typing import Any

import pytest
from kafka.admin import NewPartitions

from pipeline.contracts import Withdrawn
from pipeline.errors import ConfigError
from tests.support.source_rig import World, numbered


def test_a_latest_start_is_fixed_when_it_is_chosen_so_that_the_next_owner_misses_nothing(world: World) -> None:
    world.produce(b"before")
    first = world.assigned(start="latest")
    world.produce(*numbered(0, 3))
    first.read(*numbered(0, 3))
    first.member.close()
    second = world.reader(start="latest")
    second.read(*numbered(0, 3))
    assert second.values() == numbered(0, 3)


@pytest.mark.parametrize("start", ["latest", "earliest"])
def test_partitions_that_are_added_are_read_from_their_first_record(world: World, start: str) -> None:
    world.produce(b"before")
    reader = world.assigned(start=start, metadata_max_age=0.5)
    with world.admin() as admin:
        admin.create_partitions({world.topic: NewPartitions(4)})
    world.produce_anew(*numbered(0, 3), partition=3)
    reader.read(*numbered(0, 3))
    assert (b"before" in reader.values()) is (start == "earliest")


def test_partitions_that_are_added_while_nobody_runs_are_read_from_their_first_record(world: World) -> None:
    world.produce(b"before")
    world.assigned(start="latest").member.close()
    with world.admin() as admin:
        admin.create_partitions({world.topic: NewPartitions(4)})
    world.produce_anew(*numbered(0, 3), partition=3)
    reader = world.reader(start="latest")
    reader.read(*numbered(0, 3))
    assert reader.values() == numbered(0, 3)


def test_all_members_of_a_first_start_begin_at_the_end(world: World) -> None:
    world.produce(b"before", partition=0)
    world.produce(b"before", partition=1)
    first, second = world.reader(start="latest"), world.reader(start="latest")
    first.until(lambda: len(first.owned) == len(second.owned) == 1 and first.started() and second.started(), second)
    world.produce(b"after", partition=0)
    world.produce(b"after", partition=1)
    first.until(lambda: first.values() == second.values() == [b"after"], second)


def test_what_comes_to_a_member_that_holds_is_held_too(world: World) -> None:
    first, second = world.reader(), world.reader()
    first.until(lambda: len(first.owned) == len(second.owned) == 1, second)
    (given,) = second.owned
    first.member.pause()
    second.member.close()
    world.produce(b"a", b"b", partition=given.number)
    first.until(lambda: len(first.owned) == 2 and first.started())
    for _ in range(5):
        first.poll()
    assert not first.records
    first.member.resume()
    first.read(b"a", b"b")


def test_who_is_fenced_by_a_member_of_the_same_name_ends_and_says_why(world: World) -> None:
    first = world.assigned(group_instance_id="one")
    second = world.reader(group_instance_id="one")
    second.until(lambda: len(second.owned) == 2)
    with pytest.raises(ConfigError, match=r"kafka\.group_instance_id 'one'"):
        first.until(lambda: first.member.commit({world.partition(0): 0}) is not None)
    second.commit({world.partition(0): 0})


def test_the_late_commit_of_a_frozen_member_is_refused_and_it_learns_that_it_lost_all(world: World) -> None:
    zombie = world.assigned(session_timeout=1.0, heartbeat_interval=0.2)
    world.produce(*numbered(0, 10))
    zombie.read(*numbered(0, 10))
    successor = world.reader(session_timeout=1.0, heartbeat_interval=0.2)
    # The zombie is not polled from here on, and its IO thread, which sends the heartbeats, is blocked, as at SIGSTOP.
    net = zombie.member._consumer._manager._net
    net.call_soon(lambda: time.sleep(6))
    successor.until(lambda: len(successor.owned) == 2)
    successor.read(*numbered(0, 10))
    successor.commit({world.partition(0): 10})
    assert zombie.member.commit({world.partition(0): 3}) is None
    assert world.committed() == 10
    zombie.until(lambda: zombie.reported(Withdrawn) != [], successor)
    assert {change.lost for change in zombie.reported(Withdrawn) if isinstance(change, Withdrawn)} == {True}
    zombie.until(lambda: len(zombie.owned) == len(successor.owned) == 1 and zombie.member.joined(), successor)
    (own,) = zombie.owned
    (theirs,) = successor.owned
    zombie.until(lambda: zombie.member.commit({own: 0, theirs: 0}) == {own}, successor)


def test_a_member_that_is_put_out_while_it_joins_learns_that_it_lost_all(world: World) -> None:
    frozen = world.assigned(session_timeout=1.0, heartbeat_interval=0.2)
    world.produce(*numbered(0, 3))
    frozen.read(*numbered(0, 3))
    frozen.commit({world.partition(0): 3})
    coordinator = frozen.member._consumer._coordinator
    join, awake = coordinator._do_join_and_sync_async, threading.Event()

    async def freeze_before_joining() -> Any:
        while not awake.is_set():
            await coordinator._manager._net.sleep(0.05)
        return await join()

    coordinator._do_join_and_sync_async = freeze_before_joining
    coordinator.request_rejoin()
    frozen.poll()
    successor = world.reader(session_timeout=1.0, heartbeat_interval=0.2)
    world.produce(*numbered(3, 6))
    successor.read(*numbered(3, 6))
    successor.until(lambda: len(successor.owned) == 2)
    successor.commit({world.partition(0): 6})
    successor.member.close()
    frozen.changes.clear()
    frozen.records.clear()
    awake.set()
    frozen.until(lambda: bool(frozen.reported(Withdrawn)) and len(frozen.owned) == 2)
    assert all(change.lost for change in frozen.reported(Withdrawn) if isinstance(change, Withdrawn))
    world.produce(b"6")
    frozen.read(b"6")
    assert frozen.values() == [b"6"], "what another member has committed is not read again"


def test_a_commit_while_the_group_changes_passes_when_it_has_changed(world: World) -> None:
    first = world.assigned()
    world.produce(*numbered(0, 4))
    first.read(*numbered(0, 4))
    others = [world.reader() for _ in range(2)]
    committed: list[object] = []

    def settled() -> bool:
        committed.append(first.member.commit({world.partition(0): 4, world.partition(1): 0}))
        return sum(len(reader.owned) for reader in (first, *others)) == 2 and committed[-1] is not None

    first.until(lambda: any(reader.owned for reader in others) and settled(), *others)
    assert committed[-1] == first.owned & {world.partition(0), world.partition(1)}
