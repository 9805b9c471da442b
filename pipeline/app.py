"""The composition root: builds every part from the settings, wires them, and owns their order of start and end.

The only place that knows all parts. Start: endpoints first (so that waiting for a service is visible), then the writer,
then the owner's loop in the calling thread. End: the loop drains, the metrics wait for a last scrape, then the group is
left and connections are closed.
"""

import gc
import os
import threading
from collections.abc import Iterable
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from pipeline.config import Settings
from pipeline.contracts import SystemClock
from pipeline.dead_letter import KafkaDeadLetters
from pipeline.endpoints import Endpoints
from pipeline.metrics import Metrics
from pipeline.processor import Processor
from pipeline.retry import RetryPolicy
from pipeline.sink import ClickHouseSink
from pipeline.source import KafkaSource
from pipeline.writer import Writer

log = structlog.get_logger(__name__)

WRITER_JOIN: Final = 2.0


class _LastScrape(Collector):
    """Sees when a scrape happens, so that a clean end can let Prometheus have the final numbers."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def collect(self) -> Iterable[Metric]:
        """Note the scrape; adds no series."""
        self.seen.set()
        return ()


class Daemon:
    """One member of the group: everything that `runstep run` runs.

    Attributes:
        endpoints: the HTTP server; its `address` is known once `run` has started it.
    """

    def __init__(self, settings: Settings, *, registry: CollectorRegistry | None = None) -> None:
        """Wire the parts; nothing is opened before `run`."""
        self._settings = settings
        self._registry = registry or CollectorRegistry()
        self._clock = SystemClock()
        self.metrics = Metrics(self._registry, settings.http.buckets, os.environ.get("RUNSTEP_REVISION", ""))
        self._last_scrape = _LastScrape()
        self._registry.register(self._last_scrape)
        self._source = KafkaSource(settings.kafka, settings.batch.max_rows)
        self._sink = ClickHouseSink(lambda: settings.clickhouse)
        letters = settings.dead_letter
        self._writer = Writer(
            self._sink,
            KafkaDeadLetters(
                settings.kafka, settings.dead_letter_topic, letters.delivery_timeout, letters.max_request_size
            ),
            self.metrics,
            self._clock,
            RetryPolicy(settings.retry.first_delay, settings.retry.max_delay),
            settings.normalize.counted_steps,
        )
        self._processor = Processor(self._source, self._writer, self.metrics, self._clock, settings)
        self._state = "starting"
        self.endpoints = Endpoints(settings.http, self._registry, self)

    def run(self) -> None:
        """Run until `stop`, then drain. Blocks; the calling thread is the owner.

        Raises:
            ConfigError: the endpoints' address cannot be listened on.
        """
        self.endpoints.start()
        log.info("started", http=":".join(map(str, self.endpoints.address)), topics=self._settings.kafka.topics)
        self._writer.start()
        _calm_collector()
        try:
            self._state = "running"
            self._processor.run()
            self._state = "drained"
            self._await_last_scrape()
        finally:
            self._writer.close(WRITER_JOIN)
            self._source.close()
            self.endpoints.close()
            log.info("stopped", **self.metrics.totals())

    def stop(self) -> None:
        """Ask for a clean end; from any thread, and from a signal handler."""
        self._state = "draining"
        self._processor.stop()

    def alive(self) -> str | None:
        """Return why the loop makes no progress, None while it does."""
        still = self._clock.monotonic() - self._processor.turned_at
        if still > self._settings.http.stalled_after:
            return f"the loop has made no progress for {still:.0f} s"
        return None

    def ready(self) -> list[str]:
        """Return what is in the way of records becoming rows; empty when nothing is."""
        causes = [] if self._state == "running" else [f"the daemon is {self._state}"]
        causes += [cause for cause in (self._processor.source_trouble, self._writer.trouble, self.alive()) if cause]
        if not self._processor.source_trouble and not self._source.joined():
            causes.append(f"not yet a member of group {self._settings.kafka.group_id!r}")
        halted = self._source.halted.items()
        return causes + [f"{partition.topic}/{partition.number} is halted: {cause}" for partition, cause in halted]

    def status(self) -> dict[str, Any]:
        """Return what /status shows."""
        return {
            "state": self._state if self._state != "running" or not self.ready() else "waiting",
            "causes": self.ready(),
            "partitions": self._processor.status(),
            "buffer": {"rows": self._processor.buffered(), "writing": self._writer.busy},
            "sink": {"available": self._writer.trouble is None, "cause": self._writer.trouble},
            "last_error": dict(self._writer.last_errors),
            "counts": self.metrics.totals(),
        }

    def _await_last_scrape(self) -> None:
        """Keep the endpoints up until the final numbers were scraped, as long as the settings allow."""
        self._last_scrape.seen.clear()
        self._last_scrape.seen.wait(self._settings.http.final_scrape)


def _calm_collector() -> None:
    """Keep the garbage collector from walking rows: they hold no cycles, and a full walk costs a tenth of the speed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
