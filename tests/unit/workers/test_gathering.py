"""Workers begin to read when all have their shares in one generation of the group, or were waited for in vain."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.workers.gathering import Gathering

FOREVER = float("inf")


def workers(*generations: int | None) -> list[Any]:
    """Return workers that have reported where they are in the group."""
    return [SimpleNamespace(report={"generation": generation}) for generation in generations]


STARTING: Any = SimpleNamespace(report=None)


def test_all_in_one_generation_begin() -> None:
    assert Gathering(3, FOREVER).is_over(workers(4, 4, 4))


@pytest.mark.parametrize(
    "children",
    [
        [],
        [STARTING, STARTING],
        [*workers(1), STARTING],
        workers(1),
        workers(1, None),
        workers(1, 2),
    ],
    ids=["none", "starting", "one starting", "one dead", "one rebalancing", "one not yet told of the other"],
)
def test_nobody_begins_before(children: list[Any]) -> None:
    assert not Gathering(2, FOREVER).is_over(children)


def test_those_in_the_group_begin_when_they_have_waited() -> None:
    gathering = Gathering(2, 0.0)
    assert not gathering.is_over(workers(None, None)), "while Kafka is away nobody waits for anybody"
    assert gathering.is_over(workers(1, None))
