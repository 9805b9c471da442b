"""Builds every part of the daemon from the settings, wires them, and owns their order of start and end.

The only place that knows all parts. A `Pipeline` reads, stores and counts; a `Service` is a pipeline with endpoints.
Start: endpoints first (so that waiting for Kafka or ClickHouse is visible), then the writer, then the loop in the
calling thread. End: the loop drains, the consumer leaves the group, the metrics wait for a last scrape.
"""

import gc
import math
import os
import threading
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import Reloadable, Settings
from pipeline.contracts import SystemClock
from pipeline.daemon.attempts import RetryPolicy
from pipeline.daemon.processor import Processor
from pipeline.daemon.systemd import Notifier
from pipeline.daemon.watchdog import Watchdog, Watched
from pipeline.daemon.writer import Writer
from pipeline.endpoints import Endpoints
from pipeline.endpoints.status import BufferStatus, PartitionStatus, ProcessStatus, SinkStatus
from pipeline.kafka.dead_letters import KafkaDeadLetters
from pipeline.kafka.source import KafkaSource
from pipeline.metrics import Metrics

log = structlog.get_logger(__name__)

WRITER_JOIN_TIMEOUT_S: Final = 2.0
GARBAGE_INTERVAL_S: Final = 60.0
KEY_AND_HEADERS_BYTES: Final = 1 << 20
"""What a record may have beside a value of `normalize.max_event_bytes`; of a larger one only the place is read."""
MAX_QUERIES_PER_PROBE: Final = 4
"""The sink sends so many queries at most, each with its time-out, to connect or to look at the tables."""


class LastScrape(Collector):
    """Notices a scrape, so that a clean end can wait until Prometheus has the final numbers."""

    def __init__(self) -> None:
        self._seen = threading.Event()

    def collect(self) -> Iterable[Metric]:
        """Note the scrape; add no series."""
        self._seen.set()
        return ()

    def wait(self, seconds: float) -> None:
        """Wait for one more scrape from now on, at most so many seconds."""
        self._seen.clear()
        self._seen.wait(seconds)


class Pipeline:
    """Source, processor, writer and metrics of one member of the consumer group, and their health (`endpoints.Health`).

    Attributes:
        registry: where the metrics are.
        metrics: what the parts count.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        load: Callable[[], Settings] | None = None,
        worker_id: str | None = None,
    ) -> None:
        """Wire the parts; nothing is opened before `run`.

        Args:
            settings: as read at the start.
            registry: where the metrics go.
            load: reads the settings again, for secrets that were rotated; see `Reloadable`.
            worker_id: of a worker; see `KafkaSource`.
        """
        self._settings = settings
        self._reloadable = Reloadable(settings, load)
        self._clock = SystemClock()
        self.registry = registry
        self.metrics = Metrics(registry, settings.http.buckets, os.environ.get("RUNSTEP_REVISION", ""))
        self._source = KafkaSource(
            lambda: self._reloadable.current().kafka,
            settings.batch.max_rows,
            max_record_bytes=settings.normalize.max_event_bytes + KEY_AND_HEADERS_BYTES,
            worker_id=worker_id,
        )
        dead_letters = settings.dead_letter
        sink = self._sink = ClickHouseSink(lambda: self._reloadable.current().clickhouse)
        self._writer = Writer(
            sink,
            KafkaDeadLetters(
                lambda: self._reloadable.current().kafka,
                settings.dead_letter_topic,
                dead_letters.delivery_timeout,
                dead_letters.max_request_size,
            ),
            self.metrics,
            self._clock,
            RetryPolicy(settings.retry.first_delay, settings.retry.max_delay, settings.retry.unknown_attempts),
            settings.normalize.counted_steps,
        )
        self._processor = Processor(self._source, self._writer, self.metrics, self._clock, settings)
        self._watchdog = Watchdog(self._clock, _watched(self._processor, self._writer, sink, settings))
        self._state = "starting"

    def run(self) -> None:
        """Run until `stop`, drain, leave the group. Blocks; the calling thread is the owner."""
        self._watchdog.start()
        self._writer.start()
        ended = threading.Event()
        threading.Thread(target=_collect_garbage, args=(ended,), name="runstep-garbage", daemon=True).start()
        try:
            self._state = "running"
            self._processor.run()
        finally:
            ended.set()
            self._state = "drained"
            self._writer.close(WRITER_JOIN_TIMEOUT_S)
            self._source.close()
            self._watchdog.close()
            log.info("drained", message="the daemon has drained", **self.metrics.totals())

    def hold(self) -> None:
        """Join the group and read nothing until `release`; before `run`."""
        self._processor.hold()

    def release(self) -> None:
        """Read from now on; from any thread."""
        self._processor.release()

    def generation(self) -> int | None:
        """Return the generation of the group in which this member has its share, None before. For any thread."""
        return self._source.generation()

    def stop(self) -> None:
        """Ask for a clean end; from any thread, and from a signal handler."""
        self._state = "draining"
        self._processor.stop()

    def alive(self) -> str | None:
        """Return what makes no progress, the loop or the writer, and for how long; None while both do."""
        return self._watchdog.cause()

    def ready(self) -> list[str]:
        """Return why records are not read and stored right now; empty while they are."""
        causes = [] if self._state == "running" else [f"the daemon is {self._state}"]
        causes += [
            cause for cause in (self._processor.source_trouble, self._writer.attempts.trouble, self.alive()) if cause
        ]
        if not self._processor.source_trouble:
            if not self._source.joined():
                causes.append(f"not yet a member of group {self._settings.kafka.group_id!r}")
            elif self._processor.held():
                causes.append("waits for the other workers to join the group")
        causes += list(self._source.troubles.values())
        halted = list(self._source.halted.items())
        causes += [f"{partition.topic}/{partition.number} is halted: {cause}" for partition, cause in halted]
        held_back = self._source.brokers.transactions.held_back.items()
        return causes + [f"{partition.topic}/{partition.number}: {cause}" for partition, cause in held_back]

    def status(self) -> ProcessStatus:
        """Return what /status shows."""
        causes, halted = self.ready(), dict(self._source.halted)
        return ProcessStatus(
            state="waiting" if self._state == "running" and causes else self._state,
            causes=causes,
            remarks=self._source.brokers.remarks(),
            partitions={name: PartitionStatus(**place) for name, place in self._processor.status().items()},
            buffer=BufferStatus(rows=self._processor.buffered(), writing=self._writer.busy),
            sink=SinkStatus(
                available=self._writer.attempts.sink_trouble is None,
                cause=self._writer.attempts.sink_trouble,
                breaker=self._writer.attempts.breaker,
                failures_in_a_row=self._writer.attempts.failures_in_a_row,
                most_rows=_finite(self._writer.insertion.size.max_rows),
                most_rows_cause=self._writer.insertion.size.cause,
                pending_migrations=self._sink.pending_migrations,
            ),
            halted={f"{partition.topic}/{partition.number}": cause for partition, cause in halted.items()},
            last_error=self._last_errors(),
            counts=self.metrics.totals(),
        )

    def _last_errors(self) -> dict[str, str]:
        settings = {} if self._reloadable.trouble is None else {"settings": self._reloadable.trouble}
        return {**self._writer.attempts.last_errors, **settings}


def _watched(processor: Processor, writer: Writer, sink: ClickHouseSink, settings: Settings) -> list[Watched]:
    """Return what has to show heartbeats, and how often.

    The writer shows one before each attempt, and its sink one before each query of the attempt. The attempt, and the
    back-off behind it, may last as long as the settings allow.
    """
    store, stalled_after = settings.clickhouse, settings.http.stalled_after
    longest = settings.retry.max_delay + max(
        store.connect_timeout + MAX_QUERIES_PER_PROBE * store.insert_timeout,
        settings.kafka.bootstrap_timeout + settings.dead_letter.delivery_timeout,
    )
    return [
        Watched("the loop", lambda: processor.last_heartbeat, stalled_after),
        Watched(
            "the writer",
            lambda: max(writer.attempts.last_heartbeat, sink.last_heartbeat),
            stalled_after + longest,
            lambda: writer.failure,
        ),
    ]


def _finite(rows: float) -> int | None:
    return None if math.isinf(rows) else int(rows)


class Service:
    """A pipeline with its endpoints: what `runstep run` runs.

    Attributes:
        endpoints: the HTTP server; its `address` is known once `run` has started it.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings] | None = None,
        *,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Wire the parts; nothing is opened before `run`. For the arguments see `Pipeline`."""
        self._settings = settings
        self._pipeline = Pipeline(settings, registry or CollectorRegistry(), load)
        self._last_scrape = LastScrape()
        self._pipeline.registry.register(self._last_scrape)
        self.endpoints = Endpoints(settings.http, self._pipeline.registry, self._pipeline)
        self._notifier = Notifier(self._pipeline, settings)
        self.status = self._pipeline.status

    def run(self) -> None:
        """Run until `stop`, then drain. Blocks; the calling thread is the owner.

        Raises:
            ConfigError: the endpoints' address cannot be listened on.
        """
        self.endpoints.start()
        topics = self._settings.kafka.topics
        log.info("started", message="the daemon runs", http=self.endpoints.place, topics=topics)
        self._notifier.start()
        try:
            self._pipeline.run()
            self._last_scrape.wait(self._settings.http.final_scrape)
        finally:
            self._notifier.close()
            self.endpoints.close()

    def stop(self) -> None:
        """Ask for a clean end; from any thread, and from a signal handler."""
        self._pipeline.stop()
        self._notifier.hint()


def _collect_garbage(ended: threading.Event) -> None:
    """Collect garbage once a minute instead of at every hundred thousand rows: rows hold no cycles.

    Not less often either: kafka-python leaves the socket of every refused connection in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)
    while not ended.wait(GARBAGE_INTERVAL_S):
        gc.collect()
