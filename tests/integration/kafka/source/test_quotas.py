"""A broker's quota on real Kafka: a pause that it ordered is not its silence."""

from typing import Any

import pytest

from pipeline.records import Partition
from tests.support.quotas import set_quota
from tests.support.source_rig import PrivateWorld, Reader, World, numbered

SLOW: dict[str, Any] = {"max_partition_fetch_bytes": 100_000, "fetch_max_bytes": 100_000}


def large(start: int, stop: int) -> list[bytes]:
    return [value.ljust(1_000) for value in numbered(start, stop)]


def slow_down(world: World | PrivateWorld, reader: Reader) -> None:
    """Write until the broker applies the quota: it takes effect a moment after it was set."""

    def is_throttled() -> bool:
        reader.member.progress()  # looks at the pauses, too
        if reader.member.throttled() == 0:
            world.produce(*large(0, 20))
        return reader.member.throttled() > 0

    reader.until(is_throttled)


@pytest.mark.chaos
def test_a_broker_that_orders_pauses_is_not_taken_for_one_that_is_away(world: World) -> None:
    values = large(100, 250)
    reader = world.reader(client_id=world.topic, **SLOW)
    reader.until(lambda: len(reader.owned) == 2 and reader.started())
    with world.admin() as admin:
        set_quota(admin, world.topic, consumer_byte_rate=10_000)
        slow_down(world, reader)
        world.produce(*values)
        seen: list[set[Partition]] = []

        def read() -> bool:
            reader.poll()
            seen.append(set(reader.member.progress()))
            assert reader.member.troubles == {}
            return set(values) <= set(reader.values())

        reader.until(read)
        remark = reader.member.brokers.throttling.remark
        assert remark is not None
        assert f"for client id {world.topic!r} or its user" in remark
        assert set(map(frozenset, seen)) == {frozenset({world.partition(0), world.partition(1)})}


def test_a_broker_that_dies_in_a_pause_that_it_ordered_is_away(private_world: PrivateWorld) -> None:
    world = private_world
    reader = world.reader(client_id="slow", **SLOW)
    reader.until(lambda: len(reader.owned) == 2 and reader.started())
    with world.admin() as admin:
        set_quota(admin, "slow", consumer_byte_rate=3_000)
    slow_down(world, reader)
    reader.until(lambda: bool(reader.member.progress()))
    world.broker.kill()
    reader.until(lambda: reader.member.progress() == {} and "brokers" in reader.member.troubles)


def test_without_a_quota_nothing_is_remarked(world: World) -> None:
    reader = world.assigned(client_id=world.topic)
    world.produce(*large(0, 100))
    reader.read(*large(0, 100))
    reader.until(lambda: bool(reader.member.progress()))
    assert (reader.member.throttled(), reader.member.brokers.throttling.remark) == (0.0, None)
