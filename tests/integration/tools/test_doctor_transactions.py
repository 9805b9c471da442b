"""`runstep doctor` and a producer's open transaction: what waits, whose it is, and a command that ends it."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import AbortTransactionSpec, ProducerState
from kafka.errors import TopicAuthorizationFailedError

from pipeline.config import KafkaSettings
from pipeline.tools.checks.transactions import transaction_findings
from tests.servers.addresses import KafkaAddress
from tests.support.doctor_rig import Doctor, forget_the_rest
from tests.support.transactions import open_transaction

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_rest(tmp_path, monkeypatch)


@contextmanager
def held_back(kafka: KafkaAddress, topic: str) -> Iterator[KafkaAdminClient]:
    """Leave a transaction open at offset 2 of partition 1, with three records behind its own one."""
    with (
        closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as plain,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        for _ in range(2):
            plain.send(topic, b"before", partition=1).get(timeout=20)
        with open_transaction(kafka.bootstrap, topic, b"open", transactional_id=f"orders-{topic}", partition=1):
            for _ in range(3):
                plain.send(topic, b"behind", partition=1).get(timeout=20)
            yield admin


def abort(admin: KafkaAdminClient, command: str) -> None:
    """Do what `kafka-transactions.sh abort` does with the options of this command."""
    options = dict(re.findall(r"--([\w-]+) (\S+?)(?=[ `])", command))
    place = TopicPartition(options["topic"], int(options["partition"]))
    (producer,) = [
        found
        for found in admin.describe_producers([place])[place].active_producers
        if found.current_transaction_start_offset == int(options["start-offset"])
    ]
    admin.abort_transaction(AbortTransactionSpec(place, producer.producer_id, producer.producer_epoch))


def test_an_open_transaction_is_not_nothing_is_wrong_and_the_printed_command_ends_it_79(
    environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = environ["RUNSTEP_KAFKA__TOPICS"]
    monkeypatch.setenv("RUNSTEP_KAFKA__MAX_OPEN_TRANSACTION", "0.001")
    with held_back(kafka, topic) as admin:
        answer = doctor()
        (finding,) = answer.about(f"partition {topic}/1", "bad")
        assert finding.startswith("4 offsets wait behind a transaction that is open at offset 2, by producer ")
        assert f"(transactional.id orders-{topic}), whose last record is " in finding
        assert "-> end that producer and start it again, which ends the transaction everywhere" in finding
        assert finding.endswith(
            f"run `kafka-transactions.sh --bootstrap-server {kafka.bootstrap} abort --topic {topic} --partition 1 "
            "--start-offset 2`"
        )
        assert answer.code == 1
        abort(admin, finding)
        assert doctor().about(f"partition {topic}/1") == []


def test_a_transaction_that_is_open_for_a_moment_is_no_fault(
    environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor
) -> None:
    topic = environ["RUNSTEP_KAFKA__TOPICS"]
    with held_back(kafka, topic):
        answer = doctor()
        (finding,) = answer.about(f"partition {topic}/1")
        assert finding.startswith("4 offsets wait behind a transaction that is open at offset 2, by producer ")
        assert answer.about(f"partition {topic}/1", "bad") == []


class Admin:
    """Kafka as this module asks it, where real Kafka has no such state or user at hand."""

    def __init__(self, producers: Any) -> None:
        self._producers = producers

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "error_code": 0, "partitions": [{"partition_index": 0}]} for name in names]

    def list_partition_offsets(self, wanted: Any, isolation_level: str = "read_uncommitted") -> Any:
        return dict.fromkeys(wanted, SimpleNamespace(offset=600 if isolation_level == "read_committed" else 1_101))

    def describe_producers(self, partitions: list[TopicPartition]) -> Any:
        if isinstance(self._producers, Exception):
            raise self._producers
        return {partitions[0]: SimpleNamespace(active_producers=self._producers)}

    def list_transactions(self, **_: Any) -> Any:
        return {1: []}


def test_a_transaction_that_no_coordinator_knows_is_only_ended_by_the_command() -> None:
    hanging = ProducerState(4711, 0, 0, 1_790_000_000_000 - HOUR_MS, 0, 600)
    (finding,) = transaction_findings(Admin([hanging]), KafkaSettings())
    assert finding.level == "bad"
    assert finding.detail.startswith(
        "501 offsets wait behind a transaction that is open at offset 600, by producer 4711,"
    )
    assert finding.fix == (
        "no coordinator knows it, so nothing else ends it: run `kafka-transactions.sh --bootstrap-server "
        "localhost:9092 abort --topic run-steps --partition 0 --start-offset 600`"
    )


def test_a_user_who_may_not_see_producers_is_shown_how_to_find_the_transaction() -> None:
    (finding,) = transaction_findings(Admin(TopicAuthorizationFailedError("run-steps")), KafkaSettings())
    assert finding.level == "warning"
    assert "501 offsets wait behind a transaction that is open at offset 600; its producer is unknown" in finding.detail
    assert finding.fix == (
        "grant READ on topic run-steps, or run `kafka-transactions.sh --bootstrap-server localhost:9092 find-hanging "
        "--topic run-steps --partition 0`"
    )


def test_a_transaction_that_ended_between_two_answers_is_no_fault() -> None:
    (finding,) = transaction_findings(Admin([]), KafkaSettings())
    assert (finding.level, finding.detail) == (
        "ok",
        "501 offsets wait behind a transaction that is open at offset 600, and has ended meanwhile",
    )
