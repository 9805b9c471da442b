"""Whom to kill, and when: a plan that is the same for the same seed."""

import random
from typing import Final, NamedTuple

DAEMON: Final = "daemon"
CLICKHOUSE: Final = "clickhouse"
BROKER: Final = "broker"
VICTIMS: Final = (DAEMON, CLICKHOUSE, BROKER)
MIX: Final = (DAEMON, CLICKHOUSE, DAEMON, BROKER)
MEMBERS: Final = 2
MAX_WAIT_S: Final = 2.0
MAX_ABSENCE_S: Final = 1.0
CALM: Final = 0.6
AIMED: Final = 0.5


class Strike(NamedTuple):
    """One kill.

    Attributes:
        number: from 1 on.
        victim: one of `VICTIMS`.
        member: which of the daemons; its insert is waited for.
        calm: whether the strikes before it are to be recovered from first; else it meets the recovery in its middle.
        wait: seconds to wait then.
        aimed: whether an insert is to be on its way, which it and its commit are for a small part of the time only.
        absence: seconds until the victim is started again.
    """

    number: int
    victim: str
    member: int
    calm: bool
    wait: float
    aimed: bool
    absence: float


def planned(kills: int, seed: int) -> list[Strike]:
    """Return the strikes in their order: half of them at daemons, a quarter each at ClickHouse and the broker."""
    draw = random.Random(seed)
    victims = [MIX[number % len(MIX)] for number in range(kills)]
    draw.shuffle(victims)
    return [
        Strike(
            number,
            victim,
            member=draw.randrange(MEMBERS),
            calm=draw.random() < CALM,
            wait=draw.uniform(0, MAX_WAIT_S),
            aimed=draw.random() < AIMED,
            absence=draw.uniform(0, MAX_ABSENCE_S),
        )
        for number, victim in enumerate(victims, 1)
    ]
