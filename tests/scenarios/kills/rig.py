"""The run itself: two daemons, a broker and a ClickHouse under load, and the hand that kills and starts them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from typing import Any, Final

from tests.scenarios.kills.observers import Member, Recoveries, scraping
from tests.scenarios.kills.plan import BROKER, CLICKHOUSE, MEMBERS, Strike
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.servers.server import Server
from tests.support.daemon import running_daemon
from tests.support.oracle import HOUR, Load, Place, place, repeating, status, traffic, until

SETTINGS: Final[dict[str, Any]] = {
    # Batches so small that inserts and commits are on their way all the time.
    "batch__max_rows": 500,
    "batch__max_age": 0.1,
    "retry__max_delay": 1,
    "http__final_scrape": 20,
    # The group waits so long for a member that was killed.
    "kafka__session_timeout": 1.5,
    "kafka__heartbeat_interval": 0.3,
    # And so long for one that died while the broker was away: a broker that starts forgets that it has to expire it.
    "kafka__max_poll_interval": 20,
    "clickhouse__insert_timeout": 15,
}
AGO: Final = 12 * HOUR
"""Simulated time runs faster than real time; it must not reach the present before the end of the run."""
POISON: Final = 0.02
AIM: Final = 1.0
"""Seconds to wait for an insert to be on its way."""
RECOVERY: Final = 90.0
"""Seconds after which there is no hope."""


class Rig:
    """What is killed; made by `standing`.

    Attributes:
        there: where it takes place.
        load: the traffic.
        members: the daemons.
        recoveries: from the strikes.
        ends: number of a strike to the ends of the partitions when it fell.
        inserting: numbers of the strikes that fell while an insert or its commit was on its way, as far as was seen.
        faults: what went wrong on the way.
    """

    def __init__(
        self, there: Place, load: Load, members: list[Member], broker: KafkaServer, server: ClickHouseServer
    ) -> None:
        self.there = there
        self.load = load
        self.members = members
        self.recoveries = Recoveries(there, members[0].daemon.group)
        self.ends: dict[int, dict[int, int]] = {}
        self.inserting: set[int] = set()
        self.faults: list[str] = []
        self._scrapes = scraping(members)
        self._broker = broker
        self._server = server

    def strike(self, strike: Strike) -> None:
        """Wait for the moment, kill, and start again."""
        self.load.go_on(0)
        if strike.calm:
            self.wait_until_recovered()
        time.sleep(strike.wait)
        self._see_to_the_dead()
        if strike.aimed and self._aim(self.members[strike.member]):
            self.inserting.add(strike.number)
        victim = self._victim(strike)
        if victim is self._broker:
            self.recoveries.blind.set()
        self.ends[strike.number] = dict(self.load._producer.sent.ends)
        self.recoveries.struck(strike.number, self.ends[strike.number])
        victim.kill()
        time.sleep(strike.absence)
        victim.start()
        self.recoveries.blind.clear()

    def wait_until_recovered(self) -> None:
        """Wait until all that was acknowledged before the strikes is committed."""
        recoveries = self.recoveries
        until(lambda: not recoveries.open, lambda: f"not recovered from {recoveries.open}\n{self.logs(30)}", RECOVERY)

    def logs(self, lines: int) -> str:
        """Return what the daemons say of themselves, and the ends of their logs."""
        return "\n".join(f"{member.daemon.get('/status')[1]}\n{member.daemon.log(lines)}" for member in self.members)

    def finish(self) -> None:
        """End the load and the daemons, when all is accounted for."""
        self.load.stop()
        self.wait_until_recovered()
        self._see_to_the_dead()
        self.members[0].daemon.wait_until_accounted(RECOVERY)
        # The last scrape is the one that each of them waits for when it is drained.
        self._scrapes.close()
        for member in self.members:
            member.drain()

    def close(self) -> None:
        """Look no more."""
        self._scrapes.close()
        self.recoveries.close()

    def _victim(self, strike: Strike) -> Server | Member:
        servers: dict[str, Server] = {BROKER: self._broker, CLICKHOUSE: self._server}
        return servers.get(strike.victim) or self.members[strike.member]

    def _aim(self, member: Member) -> bool:
        """Wait until it inserts, and say whether it did; what has just been started is taken as it is."""
        end = time.monotonic() + AIM
        while time.monotonic() < end:
            try:
                if status(member.daemon)["buffer"]["writing"]:
                    return True
            except (OSError, ValueError, KeyError, HTTPException):
                time.sleep(0.05)
        return False

    def _see_to_the_dead(self) -> None:
        """Start a daemon that has ended by itself, as a supervisor would; none ever should."""
        for number, member in enumerate(self.members):
            if not member.daemon.running:
                self.faults.append(f"daemon {number} ended by itself:\n{member.daemon.log(15)}")
                member.start()


@contextmanager
def standing(seed: int, rate: float) -> Iterator[Rig]:
    """Start servers of the run's own, the traffic, and two daemons that are ready.

    Args:
        seed: of the traffic.
        rate: events a second.
    """
    events = repeating(traffic(seed, ago=AGO, poison_ratio=POISON), seed)
    with KafkaServer() as broker, ClickHouseServer() as server, ExitStack() as stack:
        there = stack.enter_context(place(broker.address, server.address))
        load = stack.enter_context(Load(there, events, rate))
        daemons = [stack.enter_context(running_daemon(*there, **SETTINGS)) for _ in range(MEMBERS)]
        members = [Member(daemon) for daemon in daemons]
        with closing(Rig(there, load, members, broker, server)) as rig:
            yield rig
