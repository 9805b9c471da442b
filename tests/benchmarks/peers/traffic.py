"""The records of the two topics, and how a topic is filled.

Each step has three events (created, in progress, an end) in two dialects: the REST object, and the envelope
around it. In the odd topic one record in ten is right and unusual, and one step in twenty fails.
"""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from pipeline.tools.simulation import wire_forms
from pipeline.tools.simulation.runs import Run, lives
from pipeline.tools.simulation.seeded_random import SeededRandom

PARTITIONS: Final = 4
EVENTS_A_STEP: Final = 3
_OPEN_STEPS: Final = 500
_THREADS: Final = 512
_ASSISTANTS: Final = 24
_FLAVOURS: Final = ("openai", "foundry")


class Mix(NamedTuple):
    """What a topic holds: the shares of failed steps and of odd records."""

    name: str
    failed: float
    odd: float


PLAIN: Final = Mix("plain", 0.0, 0.0)
ODD: Final = Mix("odd", 0.05, 0.10)
POISON: Final = b'{"id":"step_poison","object":"thread.run.step","created_at":17500'
"""A record that its producer was killed in the middle of."""


class Record(NamedTuple):
    """One record of a topic."""

    key: bytes
    value: bytes


def records(mix: Mix, steps: int, now: float, seed: int = 7) -> Iterator[Record]:
    """Yield the records of so many steps; the events of many steps are interleaved, those of one are in order."""
    rng = SeededRandom(seed)
    upcoming = islice(_steps(rng, mix, now), steps)
    open_steps = [iter(step) for step in islice(upcoming, _OPEN_STEPS)]
    while open_steps:
        place = int(rng.random() * len(open_steps))
        record = next(open_steps[place], None)
        if record is not None:
            yield record
            continue
        following = next(upcoming, None)
        if following is None:
            open_steps[place] = open_steps[-1]
            open_steps.pop()
        else:
            open_steps[place] = iter(following)


def _steps(rng: SeededRandom, mix: Mix, now: float) -> Iterator[list[Record]]:
    threads = ["thread_" + rng.token() for _ in range(_THREADS)]
    assistants = ["asst_" + rng.token() for _ in range(_ASSISTANTS)]
    while True:
        run = Run(
            thread_id=rng.choice(threads),
            run_id="run_" + rng.token(),
            assistant_id=rng.choice(assistants),
            family=rng.choice(("snake", "envelope")),
            flavour=rng.choice(_FLAVOURS),
            start=now - 3600 - rng.random() * 3600,
            metadata={},
        )
        for life in lives(rng, run, mix.failed):
            begun = wire_forms.step_value(life.begun, (), run.flavour)
            ended = wire_forms.step_value(life.ended, life.calls, run.flavour)
            events = (("created", begun), ("in_progress", begun), (life.ended.status, ended))
            yield [Record(run.thread_id.encode(), _worded(rng, mix, run.family, *event)) for event in events]


def _worded(rng: SeededRandom, mix: Mix, family: str, event: str, data: bytes) -> bytes:
    if rng.random() < mix.odd:
        data = _odd(rng, data)
    return data if family == "snake" else wire_forms.enveloped(f"thread.run.step.{event}", data)


def _odd(rng: SeededRandom, data: bytes) -> bytes:
    """Return the same step as some servers write it: with a field more, a null less, or a float for a time."""
    kind = int(rng.random() * 3)
    if kind == 0:
        return data[:-1] + b',"service_tier":"default","incomplete_details":{"reason":null}}'
    if kind == 1:
        return data.replace(b'"cancelled_at":null,', b"")
    return data.replace(b',"run_id":', b'.0,"run_id":', 1)


def create_topics(bootstrap: str, *names: str) -> None:
    """Make topics of the benchmark."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    finally:
        admin.close()


def fill(bootstrap: str, topic: str, mix: Mix, events: int) -> int:
    """Make a topic and fill it; return the bytes of its values."""
    create_topics(bootstrap, topic, f"{topic}.dlq")
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=262_144, compression_type="lz4", acks="all"
    )
    size = 0
    for record in records(mix, events // EVENTS_A_STEP, time.time()):
        producer.send(topic, key=record.key, value=record.value)
        size += len(record.value)
    producer.flush()
    producer.close()
    return size
