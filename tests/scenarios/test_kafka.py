"""Kafka's log is not what it was: dropped, cut, full of gaps, recreated. What was lost is counted, nothing else is."""

import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import TopicAlreadyExistsError

from pipeline.tools.simulation import SimulatedEvent
from tests.support.kafka_logs import LogTruth, further, held, sent_once
from tests.support.oracle import committed, status, until
from tests.support.scenario import Scenario, scenario

NOTICED_SOON: dict[str, Any] = {"kafka__metadata_max_age": 1}


def lost(s: Scenario) -> dict[int, int]:
    """Return by partition how many offsets the first member has counted as lost."""
    topic = s.there.topic
    counts = {number: s.metric("runstep_records_lost_total", topic=topic, partition=str(number)) for number in range(4)}
    return {number: int(count) for number, count in counts.items() if count}


def accounted(s: Scenario) -> int:
    """Return how many records the ledger has."""
    return int(s.sql("SELECT uniqExact(kafka_partition, kafka_offset, kafka_timestamp) FROM {db}.run_step_ledger"))


@pytest.mark.chaos
@pytest.mark.parametrize("again", [1, 3])
def test_17_a_topic_that_is_made_again_has_other_records_at_the_same_offsets(kafka, clickhouse, again):
    events = sent_once(17)
    with (
        scenario(kafka, clickhouse, events=islice(events, 1_000), rate=0, **NOTICED_SOON) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        s.load.finish()
        earlier = []
        for turn in range(again):
            s.daemon.wait_until_accounted()
            earlier += held(s.there)
            # It sleeps through the time without the topic, and finds its next offset in the new one.
            with s.fault(lambda: s.daemon.send(signal.SIGSTOP), lambda: s.daemon.send(signal.SIGCONT)):
                admin.delete_topics([s.there.topic])
                made_again(admin, s.there.topic)
                further(s, s.there, islice(events, (turn + 2) * 1_000))
            # The old topic's committed offsets may pass for the end of the new one.
            until(lambda: accounted(s) >= len(s.load.produced), s.daemon.log)
        s.judge(truth=partial(LogTruth, earlier=earlier))


def made_again(admin: KafkaAdminClient, topic: str) -> None:
    """Make a topic that was just deleted, for which Kafka takes a moment."""

    def made() -> bool:
        with suppress(TopicAlreadyExistsError):
            admin.create_topics([NewTopic(topic, 4, 1)])
            return True
        return False

    until(made, "the topic cannot be recreated")


@pytest.mark.chaos
def test_17_a_topic_that_is_deleted_is_named_until_it_is_made_again(kafka, clickhouse):
    events = sent_once(170)
    with (
        scenario(kafka, clickhouse, events=islice(events, 1_000), rate=0, **NOTICED_SOON) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        s.load.finish()
        s.daemon.wait_until_accounted()
        earlier = held(s.there)
        with s.fault(lambda: admin.delete_topics([s.there.topic]), lambda: made_again(admin, s.there.topic)):
            s.wait_until_unready(f"{s.there.topic}' does not exist")
        further(s, s.there, islice(events, 1_000))
        s.wait_until_ready()
        s.judge(truth=partial(LogTruth, earlier=earlier))


def test_41_exactly_the_offsets_that_retention_took_unread_are_counted_as_lost(kafka, clickhouse):
    events = sent_once(41)
    with (
        scenario(kafka, clickhouse, events=islice(events, 1_000), rate=0) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        s.load.finish()
        s.daemon.wait_until_accounted()
        s.drain(s.daemon)
        earlier, read = held(s.there), committed(s.there, s.daemon.group)
        further(s, s.there, islice(events, 2_000))
        # One partition loses nothing.
        below = {number: offset + 100 * number for number, offset in read.items()}
        admin.delete_records({TopicPartition(s.there.topic, number): offset for number, offset in below.items()})
        s.daemon.start()
        s.daemon.wait_until_accounted()
        assert lost(s) == {number: 100 * number for number in range(1, 4)}
        s.judge(truth=partial(LogTruth, earlier=earlier))


@pytest.mark.chaos
def test_41_every_offset_is_stored_or_lost_where_retention_overtakes_a_member_at_work(kafka, clickhouse):
    away, back = "RENAME TABLE {db}.run_step_ingest TO {db}.away", "RENAME TABLE {db}.away TO {db}.run_step_ingest"
    # So little is handed ahead that much is unread when it is dropped.
    few = {"kafka__max_partition_fetch_bytes": 65_536, "kafka__fetch_max_bytes": 262_144}
    with (
        scenario(kafka, clickhouse, events=islice(sent_once(410), 20_000), rate=0, **few) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        with s.fault(away, back):
            s.load.finish()
            s.wait_until_unready("run_step_ingest")
            earlier = held(s.there)
            ends = {record.partition: record.offset for record in earlier}
            admin.delete_records({TopicPartition(s.there.topic, number): end - 100 for number, end in ends.items()})
        s.daemon.wait_until_accounted()
        rows = s.sql("SELECT DISTINCT kafka_partition, kafka_offset FROM {db}.run_step_ledger FORMAT TSV").splitlines()
        stored = {tuple(map(int, row.split("\t"))) for row in rows}
        assert sum(lost(s).values()) == len(earlier) - len(stored) > 0
        earlier = [record for record in earlier if (record.partition, record.offset) in stored]
        s.judge(truth=partial(LogTruth, earlier=earlier))


@pytest.mark.chaos
def test_42_a_log_that_was_cut_below_what_was_read_and_filled_otherwise(kafka_factory, clickhouse, tmp_path):
    broker = kafka_factory()
    events = sent_once(42)
    with scenario(broker.address, clickhouse, events=islice(events, 1_000), rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        while_stopped(broker, s.there.topic, lambda folder: shutil.copytree(folder, tmp_path / folder.name))
        further(s, s.there, islice(events, 1_000))
        s.daemon.wait_until_accounted()
        earlier = held(s.there)

        def cut(folder):
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / folder.name, folder)

        while_stopped(broker, s.there.topic, cut)
        further(s, s.there, islice(events, 2_000))
        s.wait_until_ready()
        until(lambda: sum(status(s.daemon)["counts"].values()) == 4_000, s.daemon.log)
        s.judge(truth=partial(LogTruth, earlier=earlier))


def while_stopped(broker: Any, topic: str, change: Callable[[Any], object]) -> None:
    """Do something to where a stopped broker keeps each partition."""
    broker.stop()
    for folder in (broker.folder / "log").glob(f"{topic}-?"):
        change(folder)
    broker.start()


@pytest.mark.chaos
def test_43_what_was_aborted_and_the_marks_of_transactions_are_no_loss(kafka, clickhouse):
    events = sent_once(43)
    with scenario(kafka, clickhouse, events=islice(events, 500), rate=0) as s:
        s.load.finish()
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=s.there.topic)) as producer:
            producer.init_transactions()
            for turn in range(6):
                in_transaction(producer, s, islice(events, 100), abort=turn % 2 == 0)
        # The mark of an aborted transaction is the last of each partition.
        s.daemon.wait_until_accounted()
        until(lambda: all(place["lag"] == 0 for place in status(s.daemon)["partitions"].values()), "a lag remains")
        assert lost(s) == {}
        s.judge(truth=LogTruth)


def in_transaction(producer: Any, s: Scenario, events: Iterable[SimulatedEvent], *, abort: bool) -> None:
    """Produce events and take them back, or not."""
    producer.begin_transaction()
    for number, event in enumerate(events):
        producer.send(s.there.topic, key=event.key, value=event.value, partition=number % 4)
        s.load.produced.append(event)
    producer.flush()
    producer.abort_transaction() if abort else producer.commit_transaction()


@pytest.mark.chaos
def test_43_gaps_that_compaction_leaves_are_no_loss(kafka_factory, clickhouse):
    broker = kafka_factory({"log.cleaner.backoff.ms": "100"})
    events = (event._replace(key=event.key or b"none") for event in sent_once(430) if event.value is not None)
    with (
        scenario(broker.address, clickhouse, events=islice(events, 1_000), rate=0) as s,
        closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin,
    ):
        s.load.finish()
        s.daemon.wait_until_accounted()
        s.drain(s.daemon)
        earlier = held(s.there)
        further(s, s.there, islice(events, 2_000))
        compact = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.0", "segment.ms": "100"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, s.there.topic, compact)])
        # What is appended last stays as it is; what was the end before becomes cleanable.
        until(lambda: len(held_and_more(s, events)) < 2_000, "nothing is compacted")
        s.daemon.start()
        s.daemon.wait_until_accounted()
        assert lost(s) == {}
        s.judge(truth=partial(LogTruth, earlier=earlier))


def held_and_more(s: Scenario, events: Iterable[SimulatedEvent]) -> list[Any]:
    """Append a little, which makes Kafka begin a new segment; return what it holds."""
    further(s, s.there, islice(events, 10))
    return held(s.there)
