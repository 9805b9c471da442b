"""Records as they come: empty, hostile, unknown, repeated, in floods. Nothing of it stops a partition but a flood."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from pipeline.tools.simulation import SimulatedEvent, Traffic, events
from tests.support.model import TERMINAL
from tests.support.oracle import read_topic, repeating, status, traffic, until
from tests.support.scenario import Scenario, scenario

BEGIN = 1_790_000_000.0
"""Where made-up steps stand in time, seconds since the epoch; the traffic's own events begin an hour ago."""
POISON = b"<html>502 Bad Gateway</html>"
BULKY: dict[str, Any] = {"batch__max_rows": 20_000, "batch__max_age": 1.0}


def steps(number: int, seed: int = 9) -> list[SimulatedEvent]:
    """Return ends of as many different steps in the plain form, each with what is true of it."""
    quiet = Traffic(
        seed, snake=1, camel=0, envelope=0, poison_ratio=0, foreign_ratio=0, duplicate_ratio=0, page_ratio=0
    )
    ends = (event for event in events(quiet, None, BEGIN) if event.kind == "completed" and len(event.steps) == 1)
    plain = (event for event in ends if isinstance(body(event).get("created_at"), int) and not event.steps[0].anomalies)
    return list(islice(plain, number))


def body(event: SimulatedEvent) -> dict[str, Any]:
    return dict(json.loads(event.value or b"{}"))


def changed(event: SimulatedEvent, **fields: Any) -> bytes:
    return json.dumps(body(event) | fields).encode()


def rejected(value: bytes, reason: str, key: bytes | None = None) -> SimulatedEvent:
    return SimulatedEvent(key, value, 0.0, "poison", "dead_lettered", reason)


def sent_as(event: SimulatedEvent, value: bytes, **truth: Any) -> SimulatedEvent:
    """Return the event in other bytes, and with other things true of it."""
    return event._replace(value=value, steps=(event.steps[0]._replace(**truth),))


def finish(s: Scenario) -> None:
    s.load.finish()
    s.judge()


def between(special: Iterable[SimulatedEvent], others: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
    """Yield the special events with five others around each."""
    rest = iter(others)
    for event in special:
        yield from islice(rest, 5)
        yield event
    yield from islice(rest, 5)


def test_44_tombstones_empty_values_and_records_without_a_key_are_accounted_for(kafka, clickhouse):
    mixed = islice(traffic(44, foreign_ratio=0.3, poison_ratio=0.1), 3_000)
    with scenario(kafka, clickhouse, events=mixed, rate=0) as s:
        finish(s)


@pytest.mark.chaos
def test_48_a_hot_partition_starves_no_other(kafka, clickhouse):
    def stream() -> Iterator[SimulatedEvent]:
        hot = (event._replace(key=b"hot") for event in traffic(48))
        for cold in steps(1_000, seed=480):
            yield from islice(hot, 19)
            yield cold

    with scenario(kafka, clickhouse, events=stream(), rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        lags = {
            dict(labels)["partition"] for name, labels in s.daemon.metrics() if name == "runstep_consumer_lag_records"
        }
        assert lags == {"0", "1", "2", "3"}
        s.judge()


def test_49_a_topic_of_nothing_but_ignored_records_is_read_to_its_end(kafka, clickhouse):
    foreign = (event for event in traffic(49, foreign_ratio=0.9) if event.outcome == "ignored")
    with scenario(kafka, clickhouse, events=islice(foreign, 1_000), rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        until(lambda: all(place["lag"] == 0 for place in status(s.daemon)["partitions"].values()), "a lag remains")
        s.judge()


def test_50_a_lone_record_does_not_wait_for_others(kafka, clickhouse):
    with scenario(kafka, clickhouse, events=steps(1), batch__max_rows=1_000_000, batch__max_age=0.2) as s:
        s.load.finish()
        until(lambda: s.sql("SELECT count() FROM {db}.run_steps_current").strip() == "1", s.daemon.log)
        s.judge()


@pytest.mark.chaos
def test_52_one_row_that_only_clickhouse_refuses_costs_no_other_and_few_inserts(kafka, clickhouse):
    good = steps(10_000, seed=52)
    bad = good[7_007]
    good[7_007] = bad._replace(outcome="dead_lettered", reason="refused_by_sink", steps=())
    one_batch = [event._replace(key=b"one") for event in good]
    with scenario(kafka, clickhouse, events=one_batch, rate=0, **BULKY) as s:
        s.sql(f"ALTER TABLE {{db}}.run_steps ADD CONSTRAINT moody CHECK step_id != '{bad.steps[0].step_id}'")
        s.load.finish()
        s.daemon.wait_until_accounted()
        inserts = s.metric("runstep_inserts_total", outcome="ok") + s.metric("runstep_inserts_total", outcome="failed")
        assert inserts < 2 * 14 + 20
        s.judge()


@pytest.mark.chaos
def test_52_of_a_step_whose_end_clickhouse_refuses_the_state_before_it_is_current(kafka, clickhouse):
    sent = list(islice(traffic(53, out_of_order_ratio=0.0, page_ratio=0.0), 10_000))
    ends = [event.steps[0].step_id for event in sent if event.kind in TERMINAL][::700]
    is_bad = [event.kind in TERMINAL and event.steps[0].step_id in ends for event in sent]
    produced = [
        event._replace(outcome="dead_lettered", reason="refused_by_sink", steps=()) if bad else event
        for event, bad in zip(sent, is_bad, strict=True)
    ]
    with scenario(kafka, clickhouse, events=produced, rate=0, **BULKY) as s:
        condition = f"step_id NOT IN ({', '.join(map(repr, ends))}) OR status = 'in_progress'"
        s.sql(f"ALTER TABLE {{db}}.run_steps ADD CONSTRAINT moody CHECK {condition}")
        s.load.finish()
        s.judge()


@pytest.mark.chaos
def test_53_a_flood_of_bad_records_halts_its_partition_and_no_other(kafka, clickhouse):
    flood = [rejected(POISON + str(number).encode(), "invalid_json", b"flood") for number in range(5_000)]
    good = steps(400, seed=53)
    with scenario(kafka, clickhouse, events=chain(good[:200], flood, good[200:]), rate=0) as s:
        s.load.finish()
        s.wait_until_unready("records in a row were rejected")
        assert s.metric("runstep_halted_partitions") == 1
        (halted,) = status(s.daemon)["halted"]
        number = halted.rpartition("/")[2]
        flowing = sum(1 for record in read_topic(kafka, s.there.topic) if record.partition != int(number))
        count = f"SELECT count() FROM {{db}}.run_step_ledger WHERE kafka_partition != {number}"  # noqa: S608 - a number
        until(lambda: int(s.sql(count)) == flowing, "the other partitions do not flow")
        assert len(read_topic(kafka, f"{s.there.topic}.dlq")) <= 1_000, "the dead letters were flooded"
        s.drain(s.daemon)
        s.daemon = s.join(dead_letter__max_consecutive=0, dead_letter__max_ratio=1)
        s.judge()


@pytest.mark.chaos
def test_54_without_a_dead_letter_topic_nothing_is_committed_past_a_bad_record(kafka, clickhouse):
    deleted = threading.Event()

    def stream() -> Iterator[SimulatedEvent]:
        yield from steps(500, seed=540)
        deleted.wait()
        yield from repeating(traffic(54, poison_ratio=0.02), 54)

    with (
        scenario(kafka, clickhouse, events=stream(), dead_letter__delivery_timeout=2) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        dead_letters = f"{s.there.topic}.dlq"
        with s.fault(
            lambda: admin.delete_topics([dead_letters]), lambda: admin.create_topics([NewTopic(dead_letters, 1, 1)])
        ):
            deleted.set()
            s.load.go_on(1_000)
            s.wait_until_unready("dead-letter topic")
        s.wait_until_ready()
        s.judge()


def test_55_a_dead_letter_that_the_topic_does_not_take_whole_is_cut_and_says_so(kafka, clickhouse):
    value = b"\xff" + random.Random(55).randbytes(600_000)
    small = threading.Event()

    def stream() -> Iterator[SimulatedEvent]:
        small.wait()
        yield from [rejected(value, "not_utf8", b"large"), *steps(5, seed=55)]

    with (
        scenario(kafka, clickhouse, events=stream(), rate=0, http__final_scrape=0) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        dead_letters = ConfigResource(ConfigResourceType.TOPIC, f"{s.there.topic}.dlq", {"max.message.bytes": "500000"})
        admin.alter_configs([dead_letters])
        small.set()
        s.load.finish()
        s.daemon.wait_until_accounted()
        (dead_letter,) = read_topic(kafka, f"{s.there.topic}.dlq")
        said = dict(dead_letter.headers)
        assert said["runstep-truncated"] == str(len(value)).encode()
        assert said["runstep-sha256"] == hashlib.sha256(value).hexdigest().encode()
        assert 0 < len(dead_letter.value) < len(value)
        assert value.startswith(dead_letter.value)
        assert s.sql("SELECT outcome, count() FROM {db}.run_step_ledger GROUP BY outcome ORDER BY outcome").split() == [
            *("dead_lettered", "1"),
            *("stored", "5"),
        ]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "not UTF-8": (b'{"id":"step_\xff"}', "not_utf8"),
    "ten thousand levels": (b'{"object":"thread.run.step","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
    "cut": (b'{"id":"step_1","run_id":', "invalid_json"),
    "no object": (b'"step_1"', "not_an_object"),
}


def test_57_hostile_bytes_are_refused_or_read_right_and_never_clamped(kafka, clickhouse):
    marked, twice, huge, surrogate, infinite = steps(5, seed=57)
    special = [
        *(rejected(value, reason) for value, reason in HOSTILE.values()),
        sent_as(marked, b"\xef\xbb\xbf" + (marked.value or b"")),
        sent_as(twice, b'{"status":"in_progress",' + (twice.value or b"")[1:]),
        rejected(changed(huge, created_at=2**66), "unreadable_created_at"),
        rejected(changed(surrogate, id="\ud800"), "invalid_json"),
        rejected(changed(infinite, created_at=float("inf")), "unreadable_created_at"),
    ]
    with scenario(kafka, clickhouse, events=between(special, steps(100, seed=571)), rate=0) as s:
        finish(s)


def test_58_unknown_words_and_fields_are_kept_and_counted_and_never_refused(kafka, clickhouse):
    kind, more = steps(2, seed=58)
    special = [
        sent_as(
            kind, changed(kind, type="quantum_leap"), type="quantum_leap", anomalies=("type_mismatch", "unknown_type")
        ),
        sent_as(more, changed(more, astonishing=1), anomalies=("unknown_field",)),
    ]
    with scenario(kafka, clickhouse, events=between(special, steps(50, seed=581)), rate=0) as s:
        finish(s)


def test_59_repeats_and_disorder_end_in_the_right_state_and_count_once(kafka, clickhouse):
    disorder = traffic(59, out_of_order_ratio=0.5, duplicate_ratio=0.3)
    with scenario(kafka, clickhouse, events=islice(repeating(disorder, 59), 3_000), rate=0) as s:
        finish(s)


def test_60_clocks_that_are_wrong_are_flagged_and_stay_out_of_the_histogram(kafka, clickhouse):
    future, backwards = steps(2, seed=60)
    ahead = int(time.time()) + 365 * 86_400
    negative = future.steps[0].created_at // 1000
    events = [
        future._replace(value=changed(future, created_at=ahead, completed_at=ahead + 5)),
        backwards._replace(value=changed(backwards, created_at=negative, completed_at=negative - 5)),
    ]
    with scenario(kafka, clickhouse, events=events, rate=0, http__final_scrape=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        rows = s.sql(
            "SELECT arraySort(anomalies), duration_ms FROM {db}.run_steps_current ORDER BY created_at FORMAT TSV"
        )
        assert rows.splitlines() == ["['negative_duration']\t\\N", "['future_timestamp']\t\\N"]
        assert s.metric("runstep_anomalies_total", anomaly="negative_duration") == 1
        durations = [
            value for (name, _), value in s.daemon.metrics().items() if name == "runstep_step_duration_seconds_count"
        ]
        assert sum(durations) == 0


def test_61_secrets_in_error_texts_reach_neither_the_tables_nor_the_log_nor_the_headers(kafka, clickhouse):
    key = "sk-proj-" + "A1b2C3d4" * 6
    failed, bad = steps(2, seed=61)
    error = {"code": "server_error", "message": f"Incorrect API key provided: {key}. Bearer {key}"}
    events = [
        failed._replace(
            value=changed(failed, status="failed", completed_at=None, failed_at=1_790_000_100, last_error=error)
        ),
        rejected(changed(bad, id="", last_error=error), "missing_step_id"),
    ]
    with scenario(kafka, clickhouse, events=events, rate=0, http__final_scrape=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        stored = s.sql("SELECT * FROM {db}.run_steps_current FORMAT JSONEachRow")
        assert "Incorrect API key" in stored
        (dead_letter,) = read_topic(kafka, f"{s.there.topic}.dlq")
        said = b"".join(value for _, value in dead_letter.headers).decode()
        for text in (stored, s.sql("SELECT * FROM {db}.run_step_ledger FORMAT JSONEachRow"), said, s.daemon.log(1_000)):
            assert key not in text
            assert "A1b2C3d4" not in text


@pytest.mark.chaos
def test_66_a_flood_of_names_makes_no_new_series_and_no_memory(kafka, clickhouse):
    def stream() -> Iterator[SimulatedEvent]:
        for number, event in enumerate(steps(20_000, seed=66)):
            names = {"type": f"type_{number}", "assistant_id": f"asst_{number}", "model": f"model_{number}"}
            yield event._replace(value=changed(event, **names))

    years = 10**9
    with scenario(
        kafka, clickhouse, events=stream(), rate=0, http__final_scrape=0, normalize__backfill_after=years
    ) as s:
        before = len(s.daemon.metrics())
        s.load.finish()
        s.daemon.wait_until_accounted()
        until(lambda: s.metric("runstep_steps_total", type="other", status="completed") == 20_000, s.daemon.log)
        assert len(s.daemon.metrics()) < before + 200
