"""Who is a stranger in the group, as the member that leads it sees it."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import KafkaSettings
from pipeline.kafka.source.strangers import Strangers, assignor

UUID = "0b7d2a3e-9c1f-4a5b-8c6d-7e8f90a1b2c3"


def member(name: str, *, static: str | None = None, topics: tuple[str, ...] = ("run-steps",)) -> Any:
    metadata = SimpleNamespace(topics=list(topics))
    return SimpleNamespace(member_id=f"{name}-{UUID}", group_instance_id=static, metadata=metadata)


def consumer(*members: Any, generation: int = 1) -> Any:
    own = assignor()
    own.members = list(members) or None
    metadata = SimpleNamespace(generation_id=generation)
    return SimpleNamespace(config={"partition_assignment_strategy": [own]}, group_metadata=lambda: metadata)


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (member("runstep"), None),
        (member("worker-1", static="worker-1"), None),
        (member("stranger"), "'stranger'"),
        (member("runstep-2"), None),
        (member("runstep-x"), "'runstep-x'"),
        (member("runstep", topics=("run-steps", "orders")), "'runstep'"),
        (member("worker-1", static="worker-1", topics=("orders",)), "'worker-1'"),
    ],
)
def test_a_member_of_another_name_or_topic_is_a_stranger(seen: Any, named: str | None) -> None:
    strangers = Strangers(KafkaSettings())
    strangers.look(consumer(member("runstep"), seen))
    assert (strangers.remark or "").partition(" in group ")[0] == (named or "")


def test_what_one_rebalance_showed_is_forgotten_when_another_member_leads_the_next() -> None:
    strangers = Strangers(KafkaSettings())
    strangers.look(consumer(member("stranger")))
    strangers.look(consumer())
    assert strangers.remark is not None
    strangers.look(consumer(generation=2))
    assert strangers.remark is None


def test_two_consumers_of_a_process_do_not_see_each_others_groups() -> None:
    one, other = assignor(), assignor()
    one.members = [member("stranger")]
    assert other.members is None
