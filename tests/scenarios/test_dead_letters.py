"""Dead letters that are replayed when their cause is fixed: by a replay that is killed, and run again."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from pipeline.tools.simulation import SimulatedEvent
from tests.support.daemon import environment
from tests.support.model import Model
from tests.support.oracle import Place, Truth, repeating, traffic, until
from tests.support.scenario import Scenario, scenario

LIMIT = 1_024
"""Bytes that an event may have at first; what is larger is rejected."""
MEDIAN = 480
"""Bytes of an ordinary event; the larger half is made too large."""
EVENTS = 5_000


@pytest.mark.chaos
def test_56_dead_letters_come_back_once_however_often_they_are_replayed_and_count_once(kafka, clickhouse):
    fixed = threading.Event()

    def stream() -> Iterator[SimulatedEvent]:
        yield from map(padded, islice(repeating(traffic(56, poison_ratio=0.1), 56), EVENTS))
        fixed.wait()
        # Behind the last transaction, so that there is something to commit in each partition.
        yield from islice((event for event in traffic(560) if not large(event)), 200)

    small = {"normalize__max_event_bytes": LIMIT, "dead_letter__max_consecutive": 0, "dead_letter__max_ratio": 1}
    with scenario(kafka, clickhouse, events=stream(), rate=0, **small) as s:
        until(lambda: len(committed_records(s.there, s.there.topic)) == EVENTS, "not all is produced")
        s.daemon.wait_until_accounted()
        s.drain(s.daemon)
        dead_letters = attempts(s)[1]
        assert dead_letters > EVENTS / 3
        s.daemon = s.join(normalize__max_event_bytes=1_000_000)

        killed_replays(s)
        for _ in range(2):
            # What is always rejected is a dead letter again as soon as the daemon has read it.
            replayed(s)
            until(
                lambda: sum(attempts(s).values()) == dead_letters + bad_ones(s),
                "what is bad does not become a dead letter",
            )
        last, bad = replayed(s), attempts(s)[2]
        assert bad > 0
        assert attempts(s) == {1: dead_letters, 2: bad, 3: bad}
        assert (last["replayed"], last["exhausted"], last["closed_before"]) == (0, bad, dead_letters + bad)
        origins = Counter(origin(record) for record in returned(s))
        assert (len(origins), set(origins.values())) == (dead_letters + bad, {1})
        fixed.set()
        s.load.finish()
        s.judge(truth=TruthOfReplays)


def killed_replays(s: Scenario) -> None:
    """Kill three replays, each after it has written something."""
    draw, codes = random.Random(56), []
    with closing(reader(s)) as consumer:
        places = [TopicPartition(s.there.topic, number) for number in range(4)]

        def written() -> int:
            return sum(consumer.end_offsets(places).values())

        for _ in range(3):
            goal = written() + draw.randrange(1, 600)
            process = start(s)
            until(lambda: process.poll() is not None or written() >= goal, "the replay writes nothing")  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.communicate()
            codes.append(process.returncode)
    assert -signal.SIGKILL in codes, "no replay was in the middle"


def start(s: Scenario) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "dlq", "replay", "--yes", "--json"],
        env=environment(*s.there),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def replayed(s: Scenario) -> dict[str, Any]:
    process = start(s)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return dict(json.loads(out))


def padded(event: SimulatedEvent) -> SimulatedEvent:
    """Return the event with blanks behind it, which mean nothing, if it is one of the larger half."""
    value = event.value
    return event if value is None or len(value) < MEDIAN else event._replace(value=value.ljust(LIMIT + 1))


def large(event: SimulatedEvent) -> bool:
    return len(event.value or b"") > LIMIT


def attempts(s: Scenario) -> Counter[int]:
    """Return how many records have a dead letter of each attempt."""
    return Counter(
        attempt
        for _, attempt in {(place_of(dead_letter), attempt_of(dead_letter)) for dead_letter in dead_letters_of(s.there)}
    )


def bad_ones(s: Scenario) -> int:
    """Return how many records came back that are always rejected."""
    bad = {event.value for event in s.load.produced if event.outcome == "dead_lettered"}
    return sum(record.value in bad for record in returned(s))


def returned(s: Scenario) -> list[Any]:
    return [record for record in committed_records(s.there, s.there.topic) if came_back(record)]


def came_back(record: Any) -> bool:
    return "runstep-replay-offset" in dict(record.headers)


def origin(record: Any) -> tuple[int, int]:
    said = dict(record.headers)
    return int(said["runstep-replay-partition"]), int(said["runstep-replay-offset"])


def place_of(dead_letter: Any) -> tuple[int, int]:
    said = dict(dead_letter.headers)
    return int(said["runstep-partition"]), int(said["runstep-offset"])


def attempt_of(record: Any) -> int:
    """Return how often a dead letter's record was rejected, or how often one had been that came back."""
    return int(dict(record.headers).get("runstep-attempt", b"0"))


def dead_letters_of(there: Place) -> list[Any]:
    records = committed_records(there, f"{there.topic}.dlq")
    return [record for record in records if "runstep-reason" in dict(record.headers)]


def reader(s: Scenario) -> KafkaConsumer:
    return KafkaConsumer(bootstrap_servers=s.there.kafka.bootstrap)


def committed_records(there: Place, topic: str) -> list[Any]:
    """Return what a reader of committed records sees of a topic, all of it."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "isolation_level": "read_committed"}
    with closing(KafkaConsumer(bootstrap_servers=there.kafka.bootstrap, **options)) as consumer:
        places = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends, records = consumer.end_offsets(places), []

        def read() -> bool:
            for polled in consumer.poll(timeout_ms=200, max_records=20_000).values():
                records.extend(polled)
            return all(consumer.position(place) >= ends[place] for place in places)

        until(read, f"{topic} cannot be read to its end")
    return records


class TruthOfReplays(Truth):
    """What is large was rejected where it stood at first, and is what it is where it came back."""

    def __init__(self, there: Place, produced: Sequence[SimulatedEvent], read_at: int) -> None:
        self._there = there
        self._rejected: dict[tuple[int, int], tuple[bytes | None, bytes | None, str, int]] = {}
        self.model = Model(read_at)
        meant = {event.value: event for event in produced}
        records = committed_records(there, there.topic)
        self.records = len(records)
        for record in records:
            event = meant[record.value]
            if large(event) and not came_back(record):
                event = event._replace(outcome="dead_lettered", reason="too_large", steps=())
            self.model.add(event, record.partition, record.offset)
            if event.outcome == "dead_lettered":
                said = record.key, record.value, str(event.reason), attempt_of(record) + 1
                self._rejected[record.partition, record.offset] = said

    def check_dead_letters(self, *, sent_once: bool = False) -> None:
        """Compare the dead letters with the records that had to be rejected, and with how often each was before."""
        found = {}
        for dead_letter in dead_letters_of(self._there):
            place, reason = place_of(dead_letter), dict(dead_letter.headers)["runstep-reason"].decode()
            assert place not in found or not sent_once
            found[place] = dead_letter.key, dead_letter.value, reason, attempt_of(dead_letter)
        assert found == self._rejected
