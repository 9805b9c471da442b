"""The demo's traffic, in a process of its own: the pipeline shall not share its interpreter with its producer."""

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

_STOP_TIMEOUT: Final = 10.0


class TrafficProcess:
    """Produces events until their number is reached or `stop` is called. For one thread, which must outlive it.

    Attributes:
        acknowledged: events that Kafka has acknowledged, as last told.
        sent: the final account; None while it goes on.
    """

    def __init__(self, settings: KafkaSettings, traffic: Traffic, count: int | None, rate: float = 0) -> None:
        self.acknowledged = 0
        self.sent: Sent | None = None
        context = multiprocessing.get_context("spawn")
        self._told, telling = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_produce, args=(settings, traffic, count, rate, telling), name="runstep-demo-traffic", daemon=True
        )
        self._process.start()
        telling.close()

    def listen(self) -> None:
        """Take in what the process told since the last time. Never blocks.

        Raises:
            ServiceUnavailable: it could not produce, or ended without an account.
        """
        try:
            while self.sent is None and self._told.poll():
                self._hear(self._told.recv())
        except EOFError:
            self._process.join(_STOP_TIMEOUT)
            raise ServiceUnavailable(f"the traffic process ended early (exit {self._process.exitcode})") from None

    def stop(self) -> None:
        """Let it end in good order: no new events, an account of those that were sent. Bounded in time."""
        self._process.terminate()
        try:
            while self.sent is None and self._told.poll(_STOP_TIMEOUT):
                self._hear(self._told.recv())
        except EOFError:
            # It was told to end before it had begun to listen, and so before it had begun to produce.
            self.sent = Sent(acknowledged=self.acknowledged)
        self._process.join(_STOP_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _hear(self, told: int | Sent | str) -> None:
        if isinstance(told, str):
            raise ServiceUnavailable(told)
        if isinstance(told, Sent):
            self.sent, told = told, told.acknowledged
        self.acknowledged = told


def _produce(settings: KafkaSettings, traffic: Traffic, count: int | None, rate: float, telling: Connection) -> None:
    """Run in the child."""
    end_with_parent()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches the whole group of processes; when the traffic ends is for the demo to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        producer = EventProducer(settings, settings.topics[0])
        sent = producer.produce(
            timeline(traffic, count, rate), rate, stop, lambda sent: telling.send(sent.acknowledged)
        )
        producer.close()
        telling.send(sent)
    except RunstepError as error:
        telling.send(str(error))
