"""Real Kafka and members that are workers: a process that dies is followed by one that takes its place."""

from typing import Any

import pytest
from kafka.admin import NewPartitions

from pipeline.contracts import Assigned, Withdrawn
from tests.support.source_rig import Reader, World, numbered

LONG = 120.0
"""Seconds of a session that no test waits for."""


def worker(world: World, number: int, **settings: Any) -> Reader:
    return world.reader(worker_id=f"runstep-test-{number}", session_timeout=LONG, **settings)


def sharing(world: World, **settings: Any) -> tuple[Reader, Reader]:
    """Return two workers of one daemon; the first one leads the group."""
    first = worker(world, 1, **settings)
    first.until(lambda: len(first.owned) == 2)
    second = worker(world, 2, **settings)
    first.until(lambda: settled(first, second), second)
    return first, second


def settled(*workers: Reader) -> bool:
    generations = {one.member.generation() for one in workers}
    return len(generations) == 1 and None not in generations and all(one.owned and one.started() for one in workers)


def kill(victim: Reader) -> None:
    """End its connections without a word to Kafka, as `kill -9` does."""
    victim.member._consumer._client.close()
    victim.member._consumer = None


def test_a_killed_worker_costs_its_own_partitions_and_no_rebalance(world: World) -> None:
    first, second = sharing(world)
    (own,), (other,) = first.owned, second.owned
    generation = second.member.generation()
    second.changes.clear()
    kill(first)
    world.produce(b"other", partition=other.number)
    second.read(b"other")
    successor = worker(world, 1)
    world.produce(b"own", partition=own.number)
    successor.until(lambda: b"own" in successor.values(), second)
    assert successor.owned == {own}
    assert (second.changes, second.member.generation()) == ([], generation)


def test_a_worker_that_ends_cleanly_leaves_its_partitions_to_the_others(world: World) -> None:
    first, second = sharing(world)
    first.member.close()
    second.until(lambda: len(second.owned) == 2)


def test_a_member_with_a_name_that_was_set_keeps_its_place_at_a_clean_end(world: World) -> None:
    first = world.reader(worker_id="runstep-test-1", group_instance_id="set", session_timeout=LONG)
    first.until(lambda: len(first.owned) == 2)
    first.member.close()
    second = world.reader(worker_id="runstep-test-2", group_instance_id="set", session_timeout=LONG)
    second.until(lambda: len(second.owned) == 2)


def grow(world: World) -> None:
    with world.admin() as admin:
        admin.create_partitions({world.topic: NewPartitions(4)})
    world.produce_anew(*numbered(0, 3), partition=2)
    world.produce_anew(*numbered(3, 6), partition=3)


def read_by(*members: Reader) -> bool:
    """Return whether what was produced to the added partitions was read by any of them."""
    for one in members:
        one.member.progress()
    return set(numbered(0, 6)) <= {value for one in members for value in one.values()}


@pytest.mark.parametrize("victim", [0, 1], ids=["leader", "follower"])
def test_partitions_that_are_added_after_a_worker_was_killed_are_read(world: World, victim: int) -> None:
    workers = list(sharing(world, metadata_max_age=0.5))
    kill(workers[victim])
    workers[victim] = worker(world, victim + 1, metadata_max_age=0.5)
    workers[0].until(lambda: settled(*workers), workers[1])
    grow(world)
    workers[0].until(lambda: read_by(*workers), workers[1])


def test_partitions_that_are_added_while_a_static_member_restarts_are_read(world: World) -> None:
    named: dict[str, Any] = {"group_instance_id": "set", "session_timeout": LONG}
    world.assigned(**named).member.close()
    grow(world)
    successor = world.reader(**named)
    successor.until(lambda: read_by(successor))


def test_a_worker_whose_place_was_taken_by_a_late_request_joins_again(world: World) -> None:
    first = worker(world, 1)
    world.produce(b"a")
    first.read(b"a")
    late = worker(world, 1)
    late.until(lambda: len(late.owned) == 2)
    kill(late)
    first.until(lambda: first.member.commit({world.partition(0): 1}) is not None)
    assert [type(change) for change in first.changes].count(Withdrawn) == 2
    assert [type(change) for change in first.changes].count(Assigned) == 4
    assert world.committed() == 1
