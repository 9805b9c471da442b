"""The supervisor: starts the workers, restarts those that die, and ends all of them.

Owns the processes and the endpoints. It runs on the main thread; signals and the threads that read from workers only
wake it. The workers are members of one consumer group: Kafka assigns partitions to each. They begin to read together.

A worker that dies is restarted, at once or after a growing delay, and takes its own place in the group again: the other
workers notice nothing if it is back within `kafka.session_timeout`. The supervisor ends all others cleanly and fails
when workers die repeatedly right after their start, or when one reports that a setting is wrong.
"""

import os
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from pipeline.config import Settings
from pipeline.daemon.app import LastScrape
from pipeline.daemon.attempts import RetryPolicy
from pipeline.daemon.signals import log_stacks
from pipeline.daemon.systemd import Notifier
from pipeline.endpoints import Endpoints
from pipeline.errors import ConfigError, RunstepError
from pipeline.workers.child import Child, ending
from pipeline.workers.gathering import GATHER_TIMEOUT_S, Gathering
from pipeline.workers.overview import Overview
from pipeline.workers.process import END_TIMEOUT_S, Order

log = structlog.get_logger(__name__)

POLL_INTERVAL_S: Final = 1.0
"""Seconds between requests to the workers: what a worker that dies has counted since its last report is lost."""

GATHER_INTERVAL_S: Final = 0.25
"""The same as long as no worker reads yet."""

EARLY_DEATH_S: Final = 60.0
"""A worker that lives less long dies early, and so long early deaths are remembered."""

MAX_EARLY_DEATHS: Final = 5
"""Early deaths within `EARLY_DEATH_S`, of all workers together, at which the supervisor gives up."""

_KILL_TIMEOUT_S: Final = 5.0
"""Seconds for the kernel to end a process that was killed."""


class WorkersFailed(RunstepError):
    """Workers die repeatedly right after their start."""

    exit_code = os.EX_SOFTWARE


class Supervisor:
    """Some workers, and the endpoints that answer for all of them.

    Attributes:
        endpoints: the HTTP server; its `address` is known once `run` has started it.
    """

    def __init__(
        self,
        settings: Settings,
        count: int,
        load: Callable[[], Settings] | None = None,
        *,
        end_timeout: float = END_TIMEOUT_S,
        gather_timeout: float = GATHER_TIMEOUT_S,
    ) -> None:
        """Wire the parts; nothing is opened or started before `run`.

        Args:
            settings: as read at the start.
            count: of workers.
            load: reads the settings again, in each worker; see `pipeline.daemon.app.Pipeline`. It can be pickled.
            end_timeout: seconds beyond `drain_timeout` before a worker that drains is killed.
            gather_timeout: seconds for which workers that are in the group wait for the others before they read.

        Raises:
            ConfigError: several processes cannot share what the settings name.
        """
        if settings.clickhouse.is_embedded:
            raise ConfigError("clickhouse.url: chdb: is for one process alone; use a server, or --workers 1")
        self._settings = settings
        self._load = load
        # Of this run alone: daemons with the same settings, on one host or in copies of one container, must not meet.
        self._worker_ids = f"runstep-{uuid.uuid4().hex[:16]}"
        self._gathering: Gathering | None = Gathering(count, gather_timeout)
        self._drain_timeout = settings.drain_timeout + end_timeout
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
        self._early_deaths: deque[float] = deque(maxlen=MAX_EARLY_DEATHS)
        self._hints: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._failure: RunstepError | None = None

    def run(self) -> None:
        """Run until `stop`, then let all workers drain. Blocks; the workers live no longer than the calling thread.

        Raises:
            ConfigError: the endpoints' address cannot be listened on, or a worker finds a setting wrong.
            WorkersFailed: workers die repeatedly.
        """
        self.endpoints.start()
        address = self.endpoints.place
        topics = self._settings.kafka.topics
        log.info("started", message="the daemon runs", http=address, topics=topics, workers=len(self._due))
        self._notifier.start()
        try:
            self._overview.state = "running"
            while not self._stopping:
                self._start_due()
                self._wait(POLL_INTERVAL_S if self._gathering is None else GATHER_INTERVAL_S)
                self._look_after()
                self._gather()
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

    def log_stacks(self) -> None:
        """Log the stack of every thread, here and in each worker; from any thread."""
        log_stacks()
        for child in self._overview.children:
            child.log_stacks()

    def _start_due(self) -> None:
        now = time.monotonic()
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            try:
                own = member_settings(self._settings, name)
                order = Order(name, f"{self._worker_ids}-{name}", own, self._load)
                child = Child(order, self._overview.heard, self._parted)
            except OSError as error:
                self._start_again(name, f"could not be started: {error.strerror}", early=True)
            else:
                self._overview.add(child)
                if self._gathering is None:
                    child.let_read()
                log.info("worker_started", message="a worker was started", worker=name, pid=child.pid)

    def _parted(self) -> None:
        self._overview.heard()
        self._hints.put(None)

    def _wait(self, seconds: float) -> None:
        """Wait until there may be something to do, at most so long."""
        with suppress(queue.Empty):
            self._hints.get(timeout=seconds)

    def _gather(self) -> None:
        """Let all workers read as soon as they are to."""
        if self._gathering is not None and self._gathering.is_over(self._overview.children):
            self._gathering = None
            for child in self._overview.children:
                child.let_read()

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
            log.info("worker_ended", message="a worker has ended", worker=child.name, how=how)
        elif code == ConfigError.exit_code:
            self._give_up(ConfigError(child.failure or f"worker {child.name} {how}"))
        else:
            self._start_again(child.name, how, early=time.monotonic() - child.started_at < EARLY_DEATH_S)

    def _start_again(self, name: str, how: str, *, early: bool) -> None:
        now = time.monotonic()
        if early:
            delay = next(self._delays.setdefault(name, RetryPolicy(first_delay=1.0, max_delay=30.0).delays()))
            self._early_deaths.append(now)
        else:
            delay = 0.0
            self._delays.pop(name, None)
        if len(self._early_deaths) == MAX_EARLY_DEATHS and now - self._early_deaths[0] < EARLY_DEATH_S:
            self._give_up(
                WorkersFailed(
                    f"{MAX_EARLY_DEATHS} times within {EARLY_DEATH_S:.0f} s a worker died right after its start; "
                    f"worker {name}, the last one, {how}"
                )
            )
            return
        self._due[name] = now + delay
        self._overview.miss(name, f"{how}; it will be restarted")
        message = "a worker died and will be restarted"
        log.error("worker_died", message=message, worker=name, how=how, restarted_in_s=round(delay, 1))

    def _give_up(self, failure: RunstepError) -> None:
        self._failure = failure
        self.stop()

    def _drain(self) -> None:
        """Let all workers write and commit what they have read; those that take too long are killed."""
        self._overview.state = "draining"
        self._notifier.hint()
        for child in self._overview.children:
            child.stop()
        self._wait_for_end(self._drain_timeout)
        for child in self._overview.children:
            message = "the worker did not drain in time and is killed; what it read is read again"
            log.error("drain_timed_out", message=message, worker=child.name)
            child.kill()
        self._wait_for_end(_KILL_TIMEOUT_S)
        self._overview.state = "drained"
        log.info("drained", message="all workers have ended", **self._overview.totals())

    def _wait_for_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._overview.children and time.monotonic() < deadline:
            self._wait(POLL_INTERVAL_S)
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
