"""Observes a kill run from outside: scrapes the daemons as Prometheus does, and reads the group's committed offsets."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from http.client import HTTPException
from typing import Final, NamedTuple

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from pipeline.errors import SourceUnavailable
from pipeline.kafka.client import connect
from tests.support.daemon import HTTP_OK, Daemon
from tests.support.oracle import Place, drained

SCRAPE_EVERY_S: Final = 0.2
LOOK_EVERY_S: Final = 0.1
REQUEST_TIMEOUT_MS: Final = 3_000


class Member:
    """A daemon over all its lives, and the last that was scraped of each of them.

    Attributes:
        daemon: the process.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._life = 0
        self._seen: dict[int, str] = {}

    @property
    def scraped(self) -> list[str]:
        """The last /metrics of each life that had one."""
        return list(self._seen.values())

    def scrape(self) -> None:
        """Note what it has counted, if it answers."""
        life = self._life
        with suppress(HTTPException):
            code, text = self.daemon.get("/metrics")
            # An answer that crosses a kill may be that of the next life.
            if code == HTTP_OK and life == self._life:
                self._seen[life] = text

    def kill(self) -> None:
        """End its life by SIGKILL, without looking at it once more."""
        self._life += 1
        self.daemon.kill()

    def start(self) -> None:
        """Begin another life, without waiting for it to be ready."""
        self._life += 1
        self.daemon.start(wait=False)

    def drain(self) -> None:
        """End its life cleanly."""
        self._seen[self._life] = drained(self.daemon)


class Observer:
    """A thread that looks again and again until it is closed."""

    def __init__(self, name: str, look: Callable[[threading.Event], object]) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=look, args=(self._closed,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._thread.join(30)


def scraping(members: Iterable[Member]) -> Observer:
    """Scrape each of them five times a second."""

    def look(closed: threading.Event) -> None:
        while not closed.wait(SCRAPE_EVERY_S):
            for member in members:
                member.scrape()

    return Observer("scrapes", look)


class _Strike(NamedTuple):
    number: int
    ends: Mapping[int, int]
    at: float


class Recoveries:
    """Measures how long it takes until all that Kafka had acknowledged before a strike is committed.

    Attributes:
        seconds: number of the strike to its recovery time.
        blind: set while there is no broker to ask.
    """

    def __init__(self, there: Place, group: str) -> None:
        self.seconds: dict[int, float] = {}
        self.blind = threading.Event()
        self._there = there
        self._group = group
        self._open: list[_Strike] = []
        self._observer = Observer("recoveries", self._look)

    @property
    def open(self) -> list[int]:
        """Numbers of the strikes that are not recovered from."""
        return [strike.number for strike in self._open]

    def struck(self, number: int, ends: Mapping[int, int]) -> None:
        """Begin to measure, now.

        Args:
            number: of the strike.
            ends: partition to the offset behind the last record that was acknowledged.
        """
        self._open.append(_Strike(number, ends, time.monotonic()))

    def close(self) -> None:
        """Look no more."""
        self._observer.close()

    def _look(self, closed: threading.Event) -> None:
        while not closed.wait(LOOK_EVERY_S):
            # A client of its own after each outage, since one that has seen a broker die may keep away from it.
            if not self.blind.is_set():
                with suppress(KafkaError, SourceUnavailable, OSError), closing(self._client()) as admin:
                    while not closed.wait(LOOK_EVERY_S) and not self.blind.is_set():
                        self._close_strikes(admin)

    def _client(self) -> KafkaAdminClient:
        return connect(
            KafkaAdminClient,
            bootstrap_servers=[self._there.kafka.bootstrap],
            bootstrap_timeout_ms=REQUEST_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    def _close_strikes(self, admin: KafkaAdminClient) -> None:
        found = admin.list_group_offsets([self._group])[self._group]
        committed = {place.partition: offset.offset for place, offset in found.items()}
        now = time.monotonic()
        for strike in list(self._open):
            if all(committed.get(number, 0) >= end for number, end in strike.ends.items()):
                self.seconds[strike.number] = now - strike.at
                self._open.remove(strike)
