"""Brokers that freeze, crash, move or refuse; records that are huge or damaged; a group that another program uses."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from pipeline.cli import execute
from pipeline.tools.simulation import SimulatedEvent
from tests.servers import kafka_image
from tests.servers.kafka import KafkaServer
from tests.servers.server import Home
from tests.support.kafka_logs import LogTruth, further, sent_once
from tests.support.oracle import status, traffic, until
from tests.support.outside_view import MEGABYTE
from tests.support.scenario import SECRET, Scenario, scenario

BATCHES: dict[str, Any] = {"batch__max_rows": 50, "batch__max_age": 0.05, "rate": 300}
"""So small that commits are always on their way."""
USER = "User:bob"


def counted(s: Scenario) -> int:
    """Return how many records the first member has counted."""
    return sum(status(s.daemon)["counts"].values())


@contextmanager
def second_broker(first: KafkaServer) -> Iterator[KafkaServer]:
    """Start another broker in the cluster of a private one."""
    home = Home.temporary("kafka")
    with closing(KafkaServer(home=home)) as server:
        address = f"PLAINTEXT://{server.bootstrap}"
        voter = f"1@{first.addresses['CONTROLLER']}"
        server._properties |= {"process.roles": "broker", "node.id": "2", "listeners": address}
        server._properties |= {"controller.quorum.voters": voter}
        shutil.copytree(kafka_image.template(), home.folder / "log")
        meta = home.folder / "log" / "meta.properties"
        lines = [line for line in meta.read_text().splitlines() if not line.startswith(("node.id", "directory.id"))]
        meta.write_text("\n".join([*lines, "node.id=2", "directory.id=runstepTestBrokerTwoAA"]))
        yield server.start()


@pytest.mark.chaos
def test_08_a_coordinator_that_moves_while_members_come_and_go(kafka_factory, clickhouse):
    first = kafka_factory()
    offsets = TopicPartition("__consumer_offsets", 0)
    with (
        second_broker(first),
        scenario(first.address, clickhouse, **BATCHES) as s,
        closing(KafkaAdminClient(bootstrap_servers=first.bootstrap)) as admin,
    ):

        def coordinator() -> int:
            return int(admin.describe_topics([offsets.topic])[0]["partitions"][0]["leader_id"])

        for _ in range(3):
            s.load.go_on(500)
            other = s.join()
            goal = 3 - coordinator()
            assert admin.alter_partition_reassignments({offsets: [goal]}) == {offsets: None}
            until(lambda goal=goal: coordinator() == goal, "the coordinator does not move")  # type: ignore[misc]  # mypy infers no lambda with a default
            s.load.go_on(500)
            s.drain(other)
        s.wait_until_ready()
        s.load.go_on(500)
        s.judge()


@pytest.mark.chaos
@pytest.mark.parametrize("fault", ["frozen", "killed"])
def test_39_brokers_that_are_away_while_offsets_are_committed(kafka_factory, clickhouse, fault):
    broker = kafka_factory()
    begin, lift = (broker.pause, broker.resume) if fault == "frozen" else (broker.kill, broker.start)
    with scenario(broker.address, clickhouse, **BATCHES) as s:
        s.load.go_on(1_000)
        with s.fault(begin, lift):
            s.wait_until_unready("Kafka does not answer")
        s.load.go_on(500)
        s.wait_until_ready()
        s.doubt()
        s.judge()


def move(broker: KafkaServer, moved: KafkaServer) -> None:
    """Stop a broker and start it at its other address."""
    broker.stop()
    moved.start()


@pytest.mark.chaos
def test_40_brokers_that_all_move_to_another_address_and_back(kafka_factory, clickhouse, request):
    old = kafka_factory()
    moved = KafkaServer(home=old.home)
    request.addfinalizer(moved.kill)
    both = f"{old.bootstrap},{moved.bootstrap}"
    quick = {"kafka__bootstrap_servers": both, "kafka__metadata_max_age": 2, "dead_letter__delivery_timeout": 2}
    with scenario(old.address, clickhouse, events=islice(traffic(40), 1_000), **quick, rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        with s.fault(lambda: move(old, moved), lambda: move(moved, old)):
            further(s, s.there._replace(kafka=moved.address), islice(traffic(401), 1_000))
            until(lambda: counted(s) == 2_000, s.daemon.log)
        further(s, s.there, islice(traffic(402), 1_000))
        s.judge()


def test_45_records_larger_than_a_fetch_pass_and_those_larger_than_the_limit_are_dead_lettered(kafka, clickhouse):
    large: dict[str, Any] = {"normalize__max_event_bytes": 25 * MEGABYTE}
    with scenario(kafka, clickhouse, events=islice(traffic(45, foreign_ratio=0), 1_000), rate=0, **large) as s:
        s.load.finish()
        plain = next(event for event in s.load.produced if event.outcome == "stored" and len(event.steps) == 1)
        huge = plain._replace(value=padded(plain, 20 * MEGABYTE))
        beyond = plain._replace(
            value=padded(plain, 25 * MEGABYTE + MEGABYTE // 2), outcome="dead_lettered", reason="too_large", steps=()
        )
        s.load.produced += [huge, beyond]
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=32 * MEGABYTE)) as producer:
            for event in (huge, beyond):
                producer.send(s.there.topic, key=event.key, value=event.value).get(timeout=30)
        further(s, s.there, islice(traffic(451), 1_000))
        s.judge(more_memory=400 * MEGABYTE)


def padded(event: SimulatedEvent, size: int) -> bytes:
    """Return the event's value, of the same meaning, in more bytes."""
    return (event.value or b"") + b" " * size


@pytest.mark.chaos
def test_46_a_damaged_batch_is_dead_lettered_by_its_place_and_its_partition_flows_on(kafka_factory, clickhouse):
    broker = kafka_factory()
    damaged = SimulatedEvent(None, b"damaged", 0.0, "damaged", "dead_lettered", "unreadable")
    events = sent_once(46)
    with scenario(broker.address, clickhouse, events=islice(events, 2_000), rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        s.drain(s.daemon)
        with closing(KafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
            for partition in range(2):
                producer.send(s.there.topic, partition=partition, value=damaged.value).get(timeout=20)
        s.load.produced.append(damaged)
        further(s, s.there, islice(events, 1_000))
        # It is fixed for the judge alone.
        with s.fault(lambda: flip(broker, s.there.topic), lambda: flip(broker, s.there.topic)):
            s.daemon.start()
            s.daemon.wait_until_accounted()
        s.wait_until_ready()
        s.judge(truth=LogTruth)


def flip(broker: KafkaServer, topic: str) -> None:
    """Change bits in the broker's log where a value says so; the second time it is as it was."""
    broker.stop()
    for segment in (broker.folder / "log").glob(f"{topic}-?/*.log"):
        data = bytearray(segment.read_bytes())
        for word in (b"damaged", bytes(byte ^ 0xFF for byte in b"damaged")):
            if word in data:
                place = data.index(word)
                data[place : place + len(word)] = bytes(byte ^ 0xFF for byte in word)
                segment.write_bytes(data)
                break
    broker.start()


def allowed(kind: ResourceType, name: str, *operations: ACLOperation) -> list[ACL]:
    """Return what lets the user do these things."""
    pattern = ResourcePattern(kind, name)
    return [ACL(USER, "*", operation, ACLPermissionType.ALLOW, pattern) for operation in operations]


@pytest.mark.parametrize("what", ["topic", pytest.param("group", marks=pytest.mark.chaos)])
def test_47_a_right_that_is_taken_away_and_given_back(kafka_factory, clickhouse, what):
    broker = kafka_factory(secure=True)
    login = {
        "kafka__bootstrap_servers": broker.addresses["SASL"],
        "kafka__security_protocol": "SASL_PLAINTEXT",
        "kafka__sasl_mechanism": "PLAIN",
        "kafka__sasl_username": "bob",
        "kafka__sasl_password": "bob-pw",
        "kafka__group_id": "bobs",
    }
    read = ACLOperation.READ
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_acls(
            [
                *allowed(ResourceType.GROUP, "bobs", read),
                *allowed(ResourceType.TOPIC, "*", read, ACLOperation.WRITE),
            ]
        )
        with scenario(broker.address, clickhouse, **login) as s:
            s.load.go_on(1_000)
            kind, name = (ResourceType.TOPIC, "*") if what == "topic" else (ResourceType.GROUP, "bobs")
            right = ACLFilter(USER, "*", read, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
            with s.fault(lambda: admin.delete_acls([right]), lambda: admin.create_acls(allowed(kind, name, read))):
                s.wait_until_unready(what.title())
                s.load.go_on(500)
            s.wait_until_ready()
            s.doubt()
            s.judge()


@pytest.mark.chaos
def test_47_a_password_that_expires_until_its_file_changes(kafka_factory, clickhouse, tmp_path):
    # The broker ends each session that does not log in again.
    broker = kafka_factory({"connections.max.reauth.ms": "3000"}, secure=True)
    broker.add_scram_user("admin", f"{SECRET}-first")
    secret = tmp_path / "password"
    secret.write_text(f"{SECRET}-first")
    login = {
        "kafka__bootstrap_servers": broker.addresses["SASL"],
        "kafka__security_protocol": "SASL_PLAINTEXT",
        "kafka__sasl_mechanism": "SCRAM-SHA-256",
        "kafka__sasl_username": "admin",
        "kafka__sasl_password_file": secret,
        "kafka__bootstrap_timeout": 2,
        "dead_letter__delivery_timeout": 2,
    }
    with scenario(broker.address, clickhouse, **login) as s:
        s.load.go_on(1_000)
        with s.fault(
            lambda: broker.add_scram_user("admin", f"{SECRET}-second"),
            lambda: secret.write_text(f"{SECRET}-second"),
        ):
            s.wait_until_unready("redentials")
            s.load.go_on(500)
        s.wait_until_ready()
        s.doubt()
        s.judge()


@contextmanager
def stranger(s: Scenario, assignor: Any, topic: str) -> Iterator[Any]:
    """Be another program in the group; it reads and commits nothing."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=s.there.kafka.bootstrap,
        group_id=s.daemon.group,
        client_id="stranger",
        partition_assignment_strategy=[assignor],
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    with closing(consumer):
        yield consumer


@pytest.mark.chaos
def test_51_another_program_in_the_group_is_named_and_what_it_held_is_read_when_it_goes(
    kafka, clickhouse, capsys, monkeypatch
):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(500)
        with stranger(s, CooperativeStickyAssignor, s.there.topic) as other:

            def shared() -> bool:
                other.poll(timeout_ms=100)
                return len(other.assignment()) == len(status(s.daemon)["partitions"]) == 2

            until(shared, s.daemon.log)
            monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap)
            monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", s.there.topic)
            monkeypatch.setenv("RUNSTEP_KAFKA__GROUP_ID", s.daemon.group)
            monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
            monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", s.there.database)
            execute(["doctor", "--json", "--url", s.daemon.address])
            checks = json.loads(capsys.readouterr().out)["checks"]
            assert any("stranger" in each["detail"] and each["level"] == "warning" for each in checks), checks
            # The member that leads the group sees the others: the first one that came.
            until(lambda: any("'stranger' in group" in remark for remark in status(s.daemon)["remarks"]), s.daemon.log)
            s.load.go_on(500)
        s.judge()


@pytest.mark.chaos
def test_51_a_group_that_another_program_uses_in_its_own_way_is_named(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(500)
        s.drain(s.daemon)
        with stranger(s, RangePartitionAssignor, s.there.topic) as other:

            def settled() -> bool:
                other.poll(timeout_ms=100)
                return len(other.assignment()) == 4

            until(settled, "the stranger does not get the group")
            s.daemon.start(wait=False)
            s.wait_until_unready("another program uses kafka.group_id")
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge()
