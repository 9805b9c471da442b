"""Partitions without an owner cause a rebalance: not at once, and not for ever."""

from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from pipeline.kafka import group_internals
from pipeline.kafka.source import ownership
from pipeline.kafka.source.ownership import MAX_REQUESTS, Ownership

LEFT = {TopicPartition("steps", 2)}


class Group:
    """What the members of a group are told of it."""

    def __init__(self) -> None:
        self.count = 3
        self.settled = True
        self.unowned: Any = LEFT
        self.described = self.rebalances = 0

    def describe(self, *_: Any) -> Any:
        self.described += 1
        if isinstance(self.unowned, Exception):
            raise self.unowned
        return self.unowned

    def join_again(self, _: Any) -> None:
        self.rebalances += 1


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    made = Group()
    monkeypatch.setattr(ownership, "partitions_of", lambda *_: range(made.count))
    monkeypatch.setattr(group_internals, "settled_generation", lambda _: 1 if made.settled else None)
    monkeypatch.setattr(group_internals, "unowned", made.describe)
    monkeypatch.setattr(group_internals, "join_again", made.join_again)
    return made


def look(ownership: Ownership, times: int) -> None:
    for _ in range(times):
        ownership.look_after(object(), ("steps",), 1_000)


def test_partitions_that_are_seen_twice_without_an_owner_cause_a_rebalance(group: Group) -> None:
    looking = Ownership()
    look(looking, 1)
    assert group.rebalances == 0, "in a rebalance partitions are without an owner for a moment"
    look(looking, 1)
    assert group.rebalances == 1


def test_once_all_have_owners_nobody_is_asked_before_the_number_of_partitions_changes(group: Group) -> None:
    group.unowned = set()
    looking = Ownership()
    look(looking, 5)
    assert group.described == 1
    group.count = 4
    look(looking, 5)
    assert (group.described, group.rebalances) == (2, 0)


def test_a_group_that_never_gives_them_an_owner_is_not_rebalanced_for_ever(group: Group) -> None:
    looking = Ownership()
    look(looking, 100)
    assert group.rebalances == MAX_REQUESTS
    group.count = 4
    look(looking, 2)
    assert group.rebalances == MAX_REQUESTS + 1


@pytest.mark.parametrize("answer", [None, KafkaTimeoutError("late")], ids=["rebalancing", "no answer"])
def test_what_is_not_known_causes_nothing_and_is_asked_again(group: Group, answer: Any) -> None:
    group.unowned = answer
    looking = Ownership()
    look(looking, 3)
    assert (group.described, group.rebalances) == (3, 0)


def test_a_member_that_is_not_settled_does_not_ask(group: Group) -> None:
    group.settled = False
    look(Ownership(), 3)
    assert group.described == 0
