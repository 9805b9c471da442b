"""The real daemon in a thread of the demo's process, and the numbers the screen shows of it."""

import threading
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from pipeline.config import Settings
from pipeline.daemon.app import Service

_INSERTS: Final = "runstep_insert_duration_seconds"


class DaemonProgress(NamedTuple):
    """How far the daemon is; `insert_seconds` is the mean of all inserts so far."""

    stored: int
    dead_lettered: int
    ignored: int
    inserts: int
    insert_seconds: float

    @property
    def accounted(self) -> int:
        """Return the number of records that were read and have an outcome."""
        return self.stored + self.dead_lettered + self.ignored


class DaemonThread:
    """Runs a daemon until `stop`.

    Attributes:
        failure: what ended it, if anything did.
        address: host and port of the endpoints, once it runs.
    """

    def __init__(self, settings: Settings) -> None:
        self.failure: BaseException | None = None
        self._drain_timeout = settings.drain_timeout
        self._registry = CollectorRegistry()
        self._daemon = Service(settings, registry=self._registry)
        # As a daemon thread it cannot keep the process from ending, whatever it waits for.
        self._thread = threading.Thread(target=self._run, name="runstep-owner", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Return where the endpoints listen."""
        return self._daemon.endpoints.address

    def numbers(self) -> DaemonProgress:
        """Return how far it is. For any thread."""
        counts = self._daemon.status().counts
        inserts = seconds = 0.0
        for family in self._registry.collect():
            if family.name == _INSERTS:
                inserts += sum(sample.value for sample in family.samples if sample.name.endswith("_count"))
                seconds += sum(sample.value for sample in family.samples if sample.name.endswith("_sum"))
        return DaemonProgress(
            counts["stored"],
            counts["dead_lettered"],
            counts["ignored"],
            int(inserts),
            seconds / inserts if inserts else 0.0,
        )

    def causes(self) -> list[str]:
        """Return what is in the way of records becoming rows. For any thread."""
        return self._daemon.status().causes

    def stop(self) -> None:
        """Drain and end. Bounded in time."""
        self._daemon.stop()
        self._thread.join(self._drain_timeout + 5)

    def _run(self) -> None:
        try:
            self._daemon.run()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self.failure = error
