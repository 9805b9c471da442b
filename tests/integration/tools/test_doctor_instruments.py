"""`check` and `doctor` survive their own instruments: what fails in one question spoils no other answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httpclient import HttpClient
from kafka import KafkaAdminClient, KafkaConsumer

from pipeline.cli import execute
from tests.servers.addresses import KafkaAddress
from tests.support import new_protocol_member
from tests.support.doctor_rig import Doctor, forget_the_rest

KAFKA = [
    (KafkaAdminClient, "describe_topics", "unknown: the check failed with KeyError: 'endpoint_type'"),
    (KafkaAdminClient, "describe_groups", "unknown: the check failed with KeyError: 'endpoint_type'"),
    (KafkaAdminClient, "list_group_offsets", "unknown: the check failed with KeyError: 'endpoint_type'"),
    (KafkaAdminClient, "list_partition_offsets", "unknown: the check failed with KeyError: 'endpoint_type'"),
    (KafkaAdminClient, "describe_configs", "unknown: the check failed with KeyError: 'endpoint_type'"),
    (KafkaConsumer, "end_offsets", "unknown: the check failed with KeyError: 'endpoint_type'"),
]
CLICKHOUSE = [
    "EXISTS DATABASE",
    "system.columns",
    "INSERT ON",
    "system.disks",
    "system.merge_tree_settings",
    "now64",
    "FROM system.users",
    "dependencies_table",
]


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_rest(tmp_path, monkeypatch)


def failing(*_: Any, **__: Any) -> Any:
    raise KeyError("endpoint_type")


def subjects(checks: list[dict[str, Any]]) -> set[str]:
    """Return the subjects of findings that are no ill news."""
    return {check["subject"] for check in checks if check["level"] == "ok"}


@pytest.mark.parametrize(("client", "method", "said"), KAFKA, ids=[method for _, method, _ in KAFKA])
def test_a_question_to_kafka_that_fails_in_the_client_ends_no_diagnosis(
    environ: dict[str, str],
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    method: str,
    said: str,
) -> None:
    assert environ
    monkeypatch.setattr(client, method, failing)
    answer = doctor()
    assert answer.code in {0, 1}, answer.checks
    told = [check for check in answer.checks if check["detail"].startswith(said)]
    assert told, answer.checks
    assert "kafka" in subjects(answer.checks), "the cluster answers all the same"
    assert {"tables", "deduplication", "clock"} <= subjects(answer.checks), "ClickHouse is looked at all the same"


@pytest.mark.parametrize("part", CLICKHOUSE)
def test_a_question_to_clickhouse_that_fails_in_the_client_ends_no_diagnosis(
    environ: dict[str, str], doctor: Doctor, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, text, *rest, **named: failing() if part in text else real(self, text, *rest, **named)

    monkeypatch.setattr(HttpClient, "command", broken(HttpClient.command))
    monkeypatch.setattr(Client, "query", broken(Client.query))
    answer = doctor()
    assert answer.code in {0, 1}, answer.checks
    assert any(check["detail"].startswith("unknown: the check failed with KeyError: ") for check in answer.checks), (
        answer.checks
    )
    assert {"kafka", f"topic {environ['RUNSTEP_KAFKA__TOPICS']}"} <= subjects(answer.checks)


def test_what_is_unknown_is_not_passed_by_check(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(KafkaAdminClient, "describe_topics", failing)
    assert execute(["check", "--live", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    (topics,) = [check for check in printed["checks"] if check["subject"] == "topics"]
    assert (topics["ok"], topics["fix"][:6]) == (False, "report")
    assert {"kafka", "tables", f"group {environ['RUNSTEP_KAFKA__GROUP_ID']}"} <= subjects(printed["checks"])


def test_brokers_that_describe_their_cluster_in_the_oldest_form(
    environ: dict[str, str], doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KafkaAdminClient, "describe_cluster", failing)
    answer = doctor()
    assert answer.code == 0, answer.bad
    assert answer.about("kafka", "ok")[0].startswith(f"{environ['RUNSTEP_KAFKA__BOOTSTRAP_SERVERS']} answers: 1 broker")


def test_brokers_that_know_no_kinds_of_groups(
    environ: dict[str, str], doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = KafkaAdminClient.list_groups
    kindless = {"group_id", "protocol_type"}
    monkeypatch.setattr(
        KafkaAdminClient,
        "list_groups",
        lambda admin: [{name: value for name, value in one.items() if name in kindless} for one in listed(admin)],
    )
    assert doctor().about(f"group {environ['RUNSTEP_KAFKA__GROUP_ID']}", "bad") == []


def test_a_member_with_the_new_group_protocol_is_not_called_nobody(
    environ: dict[str, str], kafka: KafkaAddress, doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    group = environ["RUNSTEP_KAFKA__GROUP_ID"]
    new_protocol_member.join(kafka.bootstrap, group, [environ["RUNSTEP_KAFKA__TOPICS"]])
    answer = doctor()
    assert (answer.code, answer.cause) == (1, f"group {group}")
    (finding,) = answer.about(f"group {group}", "bad")
    assert finding.startswith("is of type consumer (")
    assert "KIP-848" in finding
    assert (
        f"kafka-consumer-groups.sh --bootstrap-server {kafka.bootstrap} --describe --members --group {group}" in finding
    )
    assert not any("has no members" in text for text in answer.about("group"))
    assert execute(["check", "--live"]) == 1
    assert "KIP-848" in capsys.readouterr().out
