"""The producer of a steady load, a process of its own: `python -m tests.benchmarks.peers.load`.

Prints `begun` before its first record, and at the end, as JSON, how late it was and where its poison lies.
"""

import argparse
import json
import subprocess
import sys
import time
from types import TracebackType
from typing import Final, Self

from kafka import KafkaProducer

from tests.benchmarks.peers.systems import Place
from tests.benchmarks.peers.traffic import EVENTS_A_STEP, PLAIN, POISON, records
from tests.support.paths import ROOT

TICK_S: Final = 0.02
POISON_AT: Final = 0.4
"""The share of the records after which the poison is sent."""


class Load:
    """The producer as another process sees it; it has begun when it is entered.

    `events` is the number of good records, `ended_at` the moment on the monotonic clock when its end was noticed.
    """

    def __init__(self, place: Place, rate: float, seconds: float, *, poison: bool = False) -> None:
        self.seconds = seconds
        self.events = int(rate * seconds) // EVENTS_A_STEP * EVENTS_A_STEP
        self.ended_at = 0.0
        self.late = 0.0
        self.poison: tuple[int, int] | None = None
        self._command = [sys.executable, "-m", "tests.benchmarks.peers.load", "--bootstrap", place.bootstrap]
        self._command += ["--topic", place.topic, "--rate", str(rate), "--events", str(self.events)]
        self._command += ["--poison"] if poison else []

    @property
    def ended(self) -> bool:
        """Whether all records are sent."""
        if not self.ended_at and self._process.poll() is not None:
            self.ended_at = time.monotonic()
            assert self._process.stdout is not None
            summary = json.loads(self._process.stdout.read())
            self.late = summary["late"]
            self.poison = tuple(summary["poison"]) if summary["poison"] else None
        return self.ended_at > 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "begun\n":
            raise RuntimeError(f"the producer did not begin: exit code {self._process.wait()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def send(producer: KafkaProducer, topic: str, values: list[tuple[bytes, bytes]], rate: float) -> float:
    """Send records at an even pace; return by how many seconds the last of them was late."""
    began = time.monotonic()
    sent = 0
    while sent < len(values):
        due = min(int((time.monotonic() - began) * rate) + 1, len(values))
        for key, value in values[sent:due]:
            producer.send(topic, key=key, value=value)
        sent = due
        time.sleep(TICK_S)
    return time.monotonic() - began - len(values) / rate


def main() -> None:
    """Produce."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bootstrap", required=True)
    options.add_argument("--topic", required=True)
    options.add_argument("--rate", type=float, required=True, help="records a second")
    options.add_argument("--events", type=int, required=True, help="good records in all")
    options.add_argument("--poison", action="store_true", help="and one poison record among them")
    given = options.parse_args()
    producer = KafkaProducer(bootstrap_servers=given.bootstrap, linger_ms=5, compression_type="lz4", acks="all")
    made = records(PLAIN, given.events // EVENTS_A_STEP, time.time(), seed=time.time_ns())
    values = [(record.key, record.value) for record in made]
    poisoned = int(len(values) * POISON_AT)
    poison = None
    producer.partitions_for(given.topic)
    print("begun", flush=True)
    late = send(producer, given.topic, values[:poisoned], given.rate)
    if given.poison:
        sent = producer.send(given.topic, value=POISON, partition=0).get(timeout=30)
        poison = [sent.partition, sent.offset]
    late += send(producer, given.topic, values[poisoned:], given.rate)
    producer.flush()
    producer.close()
    json.dump({"late": late, "poison": poison}, sys.stdout)


if __name__ == "__main__":
    main()
