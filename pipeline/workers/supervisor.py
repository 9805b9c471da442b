"""The supervisor: starts the workers, starts those again that die, and ends all of them.

Owns the processes and the endpoints; runs on one thread, the main one, to which signals and the threads that listen to
workers only give a hint that there is something to look at. The workers are members of one consumer group: Kafka gives
each its partitions, and those of a worker that died to the others.

A worker that dies is started again after a growing delay. The supervisor gives up, with a clean end of the others, when
workers die again and again right after their start, or when one says that a setting is wrong.
"""

import os
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from pipeline.config import Settings
from pipeline.daemon.app import LastScrape
from pipeline.daemon.attempts import RetryPolicy
from pipeline.daemon.systemd import Notifier
from pipeline.endpoints import Endpoints
from pipeline.errors import ConfigError, RunstepError
from pipeline.workers.child import Child, ending
from pipeline.workers.overview import Overview
from pipeline.workers.process import ENDING

log = structlog.get_logger(__name__)

POLL_INTERVAL: Final = 1.0
"""Seconds between questions to the workers: what a worker that dies has counted since the last one is lost."""

EARLY: Final = 60.0
"""Seconds: a worker that lives less long dies early, and so long are early deaths remembered."""

MOST_EARLY_DEATHS: Final = 5
"""Early deaths within `EARLY` seconds, of all workers together, at which the supervisor gives up."""

_KILLED: Final = 5.0
"""Seconds for the kernel to end a process that was killed."""


class WorkersFailed(RunstepError):
    """Workers die again and again right after their start."""


class Supervisor:
    """Some workers and the endpoints that speak for all of them.

    Attributes:
        endpoints: the HTTP server; its `address` is known once `run` has started it.
    """

    def __init__(self, settings: Settings, count: int, load: Callable[[], Settings] | None = None) -> None:
        """Wire the parts; nothing is opened or started before `run`.

        Args:
            settings: as read at the start.
            count: of workers.
            load: reads the settings again, in each worker; see `pipeline.daemon.app.Member`. It can be pickled.

        Raises:
            ConfigError: several processes cannot share what the settings name.
        """
        if settings.clickhouse.url.get_secret_value().startswith("chdb:"):
            raise ConfigError("clickhouse.url: chdb: is for one process alone; use a server, or --workers 1")
        self._settings = settings
        self._load = load
        self._due = {str(number): 0.0 for number in range(1, count + 1)}
        self._overview = Overview(self._due, settings.http.stalled_after)
        self._last_scrape = LastScrape()
        registry = CollectorRegistry()
        registry.register(self._overview)
        registry.register(self._last_scrape)
        self.endpoints = Endpoints(settings.http, registry, self._overview)
        self._notifier = Notifier(self._overview, settings)
        self.status = self._overview.status
        self._delays: dict[str, Iterator[float]] = {}
        self._early_deaths: deque[float] = deque(maxlen=MOST_EARLY_DEATHS)
        self._hints: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._failure: RunstepError | None = None

    def run(self) -> None:
        """Run until `stop`, then let all workers drain. Blocks; the workers live no longer than the calling thread.

        Raises:
            ConfigError: the endpoints' address cannot be listened on, or a worker finds a setting wrong.
            WorkersFailed: workers die again and again.
        """
        self.endpoints.start()
        address = ":".join(map(str, self.endpoints.address))
        log.info("started", http=address, topics=self._settings.kafka.topics, workers=len(self._due))
        self._notifier.start()
        try:
            self._overview.state = "running"
            while not self._stopping:
                self._start_due()
                self._wait()
                self._look_after()
            self._drain()
            self._last_scrape.wait(self._settings.http.final_scrape)
        finally:
            self.kill()
            self._notifier.close()
            self.endpoints.close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask for a clean end; from any thread, and from a signal handler."""
        self._stopping = True
        self._hints.put(None)

    def kill(self) -> None:
        """End all workers at once; from any thread, and from a signal handler."""
        for child in self._overview.children:
            child.kill()

    def _start_due(self) -> None:
        now = time.monotonic()
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            try:
                own = member_settings(self._settings, name)
                child = Child(name, own, self._load, self._overview.heard, self._parted)
            except OSError as error:
                self._start_again(name, f"could not be started: {error.strerror}", early=True)
            else:
                self._overview.add(child)
                log.info("worker started", worker=name, pid=child.pid)

    def _parted(self) -> None:
        self._overview.heard()
        self._hints.put(None)

    def _wait(self) -> None:
        """Wait until there may be something to do."""
        with suppress(queue.Empty):
            self._hints.get(timeout=POLL_INTERVAL)

    def _look_after(self) -> None:
        for child in self._overview.children:
            child.ask()
            code = child.poll()
            if code is not None:
                child.close()
                how = f"ended with {ending(code)}" + (f": {child.failure}" if child.failure else "")
                self._overview.remove(child, how)
                self._follow_end(child, code, how)

    def _follow_end(self, child: Child, code: int, how: str) -> None:
        if self._stopping:
            log.info("worker ended", worker=child.name, how=how)
        elif code == os.EX_CONFIG:
            self._give_up(ConfigError(child.failure or f"worker {child.name} {how}"))
        else:
            early = time.monotonic() - child.started_at < EARLY
            if not early:
                self._delays.pop(child.name, None)
            self._start_again(child.name, how, early=early)

    def _start_again(self, name: str, how: str, *, early: bool) -> None:
        now = time.monotonic()
        delay = next(self._delays.setdefault(name, RetryPolicy(first_delay=1.0, max_delay=30.0).delays()))
        if early:
            self._early_deaths.append(now)
        if len(self._early_deaths) == MOST_EARLY_DEATHS and now - self._early_deaths[0] < EARLY:
            self._give_up(
                WorkersFailed(
                    f"{MOST_EARLY_DEATHS} times within {EARLY:.0f} s a worker died right after its start; "
                    f"worker {name}, the last one, {how}"
                )
            )
            return
        self._due[name] = now + delay
        self._overview.miss(name, f"{how}; is started again")
        log.error("worker died", worker=name, how=how, started_again_in=round(delay, 1))

    def _give_up(self, failure: RunstepError) -> None:
        self._failure = failure
        self.stop()

    def _drain(self) -> None:
        """Let all workers write and commit what they have read; those that take too long are killed."""
        self._overview.state = "draining"
        self._notifier.hint()
        for child in self._overview.children:
            child.stop()
        self._wait_for_end(self._settings.drain_timeout + ENDING)
        for child in self._overview.children:
            log.error("worker did not drain in time and is killed; what it read is read again", worker=child.name)
            child.kill()
        self._wait_for_end(_KILLED)
        self._overview.state = "drained"
        log.info("drained", **self._overview.totals())

    def _wait_for_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._overview.children and time.monotonic() < deadline:
            self._wait()
            self._look_after()


def member_settings(settings: Settings, name: str) -> Settings:
    """Return the settings of one worker, who needs names of its own in Kafka."""
    kafka = settings.kafka
    instance = kafka.group_instance_id
    own = {
        "client_id": f"{kafka.client_id}-{name}",
        "group_instance_id": None if instance is None else f"{instance}-{name}",
    }
    return settings.model_copy(update={"kafka": kafka.model_copy(update=own)})
