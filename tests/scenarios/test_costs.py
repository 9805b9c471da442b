"""Records that cost more than their content shows: in memory while ClickHouse hangs, and in time."""

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any
from zlib import crc32

import pytest
from kafka import KafkaProducer

from pipeline.tools.simulation import SimulatedEvent
from tests.support.faulty_proxy import FaultyProxy, does_nothing
from tests.support.kafka_logs import further
from tests.support.oracle import traffic, until
from tests.support.outside_view import MEGABYTE, position_at_rest
from tests.support.scenario import Scenario, scenario

TWO_BATCHES = 2 * 128 * MEGABYTE
RESERVE = 150 * MEGABYTE
"""A poll, the chunk it came from, and what the allocator keeps."""
KEY = b"k" * 900_000
SINGLE: dict[str, Any] = {"page_ratio": 0, "foreign_ratio": 0, "poison_ratio": 0, "camel": 0, "envelope": 0}


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_74_keys_of_900_kb_fill_no_memory_while_clickhouse_hangs(kafka, clickhouse):
    hangs: dict[str, Any] = {"clickhouse__insert_timeout": 30, "rate": 0}
    with (
        FaultyProxy(clickhouse) as proxy,
        scenario(kafka, clickhouse, clickhouse__url=proxy.url, events=islice(traffic(74), 500), **hangs) as s,
    ):
        s.load.finish()
        s.daemon.wait_until_accounted()
        with proxy.faulty(does_nothing, everything=True):
            produce(s, islice(traffic(741), 2_000))
            until(lambda: s.metric("runstep_buffer_rows") > 100, s.daemon.log)
            assert position_at_rest(s.daemon) < 1_000, "two batches are full long before all is read"
        s.judge(more_memory=TWO_BATCHES + RESERVE)


def produce(s: Scenario, events: Iterator[SimulatedEvent]) -> None:
    """Produce events, each with a long key; the truth does not hold the keys."""
    packed = {"compression_type": "lz4", "batch_size": 16 * MEGABYTE, "max_request_size": 32 * MEGABYTE}
    with closing(KafkaProducer(bootstrap_servers=s.there.kafka.bootstrap, linger_ms=200, **packed)) as producer:
        for event in events:
            s.load.produced.append(event)
            # The client's own choice of a partition takes a second for such a key.
            partition = crc32(event.key or b"") % 4
            producer.send(s.there.topic, key=(event.key or b"") + KEY, value=event.value, partition=partition)
        producer.flush()


def test_75_a_record_that_costs_minutes_is_given_up_in_part_and_its_partition_flows_on(kafka, clickhouse):
    strict: dict[str, Any] = {
        "normalize__max_event_bytes": 32 * MEGABYTE,
        "normalize__max_searched": MEGABYTE,
        "kafka__session_timeout": 6,
        "kafka__max_poll_interval": 6,
        "http__stalled_after": 6,
    }
    with scenario(kafka, clickhouse, events=islice(traffic(75, **SINGLE), 500), rate=0, **strict) as s:
        s.load.finish()
        plain = next(event for event in s.load.produced if event.kind == "completed")
        dear = slow(plain)
        s.load.produced.append(dear)
        with closing(
            KafkaProducer(
                bootstrap_servers=s.there.kafka.bootstrap, max_request_size=32 * MEGABYTE, compression_type="lz4"
            )
        ) as producer:
            producer.send(s.there.topic, key=dear.key, value=dear.value).get(timeout=30)
        further(s, s.there, islice(traffic(751, **SINGLE), 500))
        s.daemon.wait_until_accounted()
        assert s.metric("runstep_anomalies_total", anomaly="text_not_searched") == 1
        assert s.metric("runstep_rebalances_total", kind="lost") == 0
        (text,) = s.sql(
            "SELECT step_details FROM {db}.run_steps_current WHERE has(anomalies, 'text_not_searched') FORMAT TSVRaw"
        ).splitlines()
        assert text == '{"omitted":"object","length":3}'
        s.judge(more_memory=400 * MEGABYTE)


def slow(event: SimulatedEvent) -> SimulatedEvent:
    """Return an event of the same step with a text that is slow to search: a minute or more, if all of it were."""
    body = json.loads(event.value or b"")
    body["step_details"]["note"] = "sig=a& token=a @a. " * 1_600_000
    steps = tuple(step._replace(anomalies=(*step.anomalies, "text_not_searched")) for step in event.steps)
    return event._replace(value=json.dumps(body).encode(), steps=steps)
