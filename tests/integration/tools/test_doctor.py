"""`runstep doctor` on real servers: each trouble is found, named with its fix, and reported before what follows."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

from pipeline.cli import execute
from tests.servers.addresses import KafkaAddress
from tests.support.check_rig import SMALL
from tests.support.doctor_rig import Doctor, forget_the_rest


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_rest(tmp_path, monkeypatch)


def produce(kafka: KafkaAddress, topic: str, number: int, partition: int = 0) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        for _ in range(number):
            producer.send(topic, b"x", partition=partition)
        producer.flush()


def commit(kafka: KafkaAddress, group: str, topic: str, offset: int) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.alter_group_offsets(group, {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)})


@contextmanager
def member(kafka: KafkaAddress, environ: dict[str, str], *topics: str, **options: Any) -> Iterator[None]:
    """A member of the group that is not the daemon."""
    consumer = KafkaConsumer(
        *topics,
        bootstrap_servers=kafka.bootstrap,
        group_id=environ["RUNSTEP_KAFKA__GROUP_ID"],
        partition_assignment_strategy=[options.pop("assignor", CooperativeStickyAssignor)],
        **options,
    )
    try:
        while not consumer.assignment():
            consumer.poll(timeout_ms=200)
        yield
    finally:
        consumer.close(autocommit=False, timeout_ms=2_000)


def test_all_is_well_and_only_the_daemon_is_missing(
    environ: dict[str, str], doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = doctor()
    assert (answer.code, answer.cause, answer.bad) == (0, None, [])
    assert {check["subject"].partition(" ")[0] for check in answer.warnings} == {"group", "daemon"}
    assert "is it running here?" in answer.about("daemon")[0]
    assert answer.about("lag")[0].startswith("0 records are")
    assert len(answer.about("deduplication", "ok")) == 2
    for subject in ("insert settings", "order of the views", "definer of the views", "clock", "disk", "parts"):
        assert answer.about(subject, "ok"), subject
    assert execute(["doctor"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1] == "nothing is wrong"
    assert printed.out.startswith("warn ")
    assert environ


class TestKafka:
    """What keeps the group from getting on."""

    def test_records_that_nobody_reads(
        self, environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor, capsys: pytest.CaptureFixture[str]
    ) -> None:
        topic, group = environ["RUNSTEP_KAFKA__TOPICS"], environ["RUNSTEP_KAFKA__GROUP_ID"]
        produce(kafka, topic, 10)
        commit(kafka, group, topic, 4)
        produce(kafka, topic, 3, partition=2)
        answer = doctor()
        assert (answer.code, answer.cause) == (1, f"group {group}")
        (finding,) = answer.about("group", "bad")
        assert finding.startswith("has no members, and 9 records are waiting -> start `runstep run`")
        assert "correct kafka.group_id" in finding
        assert answer.about("lag") == [
            "9 records are not committed yet; most in partition 0: 6 (next 4, end 10) -> ",
        ]
        assert execute(["doctor"]) == 1
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == f"the most likely cause: group {group}: has no members, and 9 records are waiting"

    def test_offsets_that_kafka_has_dropped_are_counted_exactly_41(
        self, environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor
    ) -> None:
        topic, group = environ["RUNSTEP_KAFKA__TOPICS"], environ["RUNSTEP_KAFKA__GROUP_ID"]
        produce(kafka, topic, 20)
        commit(kafka, group, topic, 4)
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_records({TopicPartition(topic, 0): 15})
        answer = doctor()
        (lost,) = answer.about(f"partition {topic}/0", "bad")
        assert "dropped 11 offsets that were not read, 4 to 14" in lost
        assert "kafka.on_lost_offsets = 'continue'" in lost
        assert answer.code == 1

    def test_a_committed_offset_behind_the_end_42(
        self, environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor
    ) -> None:
        topic = environ["RUNSTEP_KAFKA__TOPICS"]
        produce(kafka, topic, 5)
        commit(kafka, environ["RUNSTEP_KAFKA__GROUP_ID"], topic, 40)
        (beyond,) = doctor().about(f"partition {topic}/0", "bad")
        assert "committed is 40, but the topic ends at 5" in beyond

    def test_another_program_in_the_group_51(
        self, environ: dict[str, str], kafka: KafkaAddress, topic: Callable[..., str], doctor: Doctor
    ) -> None:
        own, other = environ["RUNSTEP_KAFKA__TOPICS"], topic()
        with member(kafka, environ, own, other, client_id="billing"):
            answer = doctor()
        assert answer.code == 1
        (finding,) = [text for text in answer.about("group", "bad") if "another program" in text]
        assert finding.startswith(f"billing on 127.0.0.1 reads {other} in it")
        assert "kafka.group_id" in finding

    def test_a_stranger_who_reads_our_topics_is_named_51(
        self, environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor
    ) -> None:
        topic = environ["RUNSTEP_KAFKA__TOPICS"]
        with member(kafka, environ, topic, client_id="backup"):
            answer = doctor()
        assert answer.code == 0
        assert any(
            "member backup on 127.0.0.1 has another name than kafka.client_id = runstep" in text
            for text in answer.about("group")
        )
        assert any(f"backup on 127.0.0.1 has {topic} 0, 1, 2" in text for text in answer.about("group", "ok"))

    def test_offsets_of_a_program_that_was_in_the_group_51(
        self, environ: dict[str, str], kafka: KafkaAddress, topic: Callable[..., str], doctor: Doctor
    ) -> None:
        other = topic()
        commit(kafka, environ["RUNSTEP_KAFKA__GROUP_ID"], other, 0)
        assert any(f"offsets of {other}" in text for text in doctor().about("group", "warning"))

    def test_partitions_without_an_owner(self, environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor) -> None:
        topic = environ["RUNSTEP_KAFKA__TOPICS"]

        class Forgetful(RangePartitionAssignor):  # type: ignore[misc]  # kafka-python is untyped
            """Gives away no partition but the first."""

            name = "cooperative-sticky"

            def assign(self, *arguments: Any) -> Any:
                given = super().assign(*arguments)
                for assignment in given.values():
                    for _, partitions in assignment.assigned_partitions:
                        del partitions[1:]
                return given

        with member(kafka, environ, topic, assignor=Forgetful, client_id="runstep"):
            answer = doctor()
        (finding,) = answer.about("group", "bad")
        assert finding.startswith(f"no member reads {topic}/1, {topic}/2")

    def test_dead_letters_that_would_not_fit_and_a_compacted_topic(
        self, environ: dict[str, str], topic: Callable[..., str], doctor: Doctor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead_letters, compacted = topic(config=SMALL), topic(config=SMALL | {"cleanup.policy": "compact"})
        monkeypatch.setenv("RUNSTEP_DEAD_LETTER__TOPIC", dead_letters)
        monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", compacted)
        answer = doctor()
        assert answer.code == 0
        (finding,) = answer.about(f"topic {dead_letters}", "warning")
        assert f"does not fit there whole -> set max.message.bytes = 33554432 for {dead_letters}" in finding
        (finding,) = answer.about(f"topic {compacted}", "warning")
        assert "cleanup.policy = compact" in finding
        assert environ


class TestServices:
    """A service that is away hides the rest, and comes first."""

    def test_clickhouse_is_away(
        self, environ: dict[str, str], kafka: KafkaAddress, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
    ) -> None:
        produce(kafka, environ["RUNSTEP_KAFKA__TOPICS"], 1)
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://127.0.0.1:1")
        answer = doctor()
        assert (answer.code, answer.cause) == (69, "clickhouse http://127.0.0.1:1")
        assert answer.about("lag"), "Kafka is looked at all the same"

    def test_kafka_is_away(self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, doctor: Doctor) -> None:
        assert environ
        monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
        monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.3")
        answer = doctor()
        assert (answer.code, answer.cause) == (69, "kafka")
        assert answer.about("disk"), "ClickHouse is looked at all the same"

    def test_a_setting_is_wrong(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("RUNSTEP_BATCH__MAX_ROWS", "many")
        assert execute(["doctor", "--json"]) == 78
        printed = json.loads(capsys.readouterr().out)
        assert not printed["ok"]
        assert "batch.max_rows" in printed["checks"][0]["detail"]
