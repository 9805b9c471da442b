"""The demo's traffic, in a process of its own, so that it does not slow the pipeline's interpreter."""

import logging
import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from typing import Final

from pipeline.config import KafkaSettings
from pipeline.errors import RunstepError, ServiceUnavailable
from pipeline.tools.demo.embedded_broker import end_with_parent
from pipeline.tools.simulation import Traffic
from pipeline.tools.simulation.producer import EventProducer, Sent, timeline

_STOP_TIMEOUT_S: Final = 10.0


class TrafficProcess:
    """Produces events until their number is reached or `stop` is called. For one thread, which must outlive it.

    Attributes:
        acknowledged: events that Kafka has acknowledged, as last reported.
        sent: the final numbers; None while the process produces.
    """

    def __init__(self, settings: KafkaSettings, traffic: Traffic, count: int | None, rate: float = 0) -> None:
        self.acknowledged = 0
        self.sent: Sent | None = None
        context = multiprocessing.get_context("spawn")
        self._reports, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_produce, args=(settings, traffic, count, rate, sender), name="runstep-demo-traffic", daemon=True
        )
        self._process.start()
        sender.close()

    def listen(self) -> None:
        """Take the reports of the process since the last call. Never blocks.

        Raises:
            ServiceUnavailable: the process could not produce, or ended without its final numbers.
        """
        try:
            while self.sent is None and self._reports.poll():
                self._take(self._reports.recv())
        except EOFError:
            self._process.join(_STOP_TIMEOUT_S)
            raise ServiceUnavailable(f"the traffic process ended early (exit {self._process.exitcode})") from None

    def stop(self) -> None:
        """Stop producing and take the final numbers. Bounded in time."""
        self._process.terminate()
        try:
            while self.sent is None and self._reports.poll(_STOP_TIMEOUT_S):
                self._take(self._reports.recv())
        except EOFError:
            # The signal came before its handler was set, and so before the first event.
            self.sent = Sent(acknowledged=self.acknowledged)
        self._process.join(_STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _take(self, report: int | Sent | str) -> None:
        if isinstance(report, str):
            raise ServiceUnavailable(report)
        if isinstance(report, Sent):
            self.sent, report = report, report.acknowledged
        self.acknowledged = report


def _produce(settings: KafkaSettings, traffic: Traffic, count: int | None, rate: float, sender: Connection) -> None:
    """Run in the child."""
    end_with_parent()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches the whole process group; the demo decides when the traffic ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        producer = EventProducer(settings, settings.topics[0])
        sent = producer.produce(timeline(traffic, count, rate), rate, stop, lambda sent: sender.send(sent.acknowledged))
        producer.close()
        sender.send(sent)
    except RunstepError as error:
        sender.send(str(error))
