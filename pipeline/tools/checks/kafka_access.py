"""Kafka: whether it answers, accepts the credentials, has the topics, allows reading them, and knows the group.

Asks only; nothing is created, joined, produced or committed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import CoordinatorNotAvailableError, GroupAuthorizationFailedError, KafkaError, for_code
from kafka.structs import TopicPartition

from pipeline.config import KafkaSettings, Settings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.advertised import FIX as ADVERTISED
from pipeline.kafka.advertised import unreachable
from pipeline.kafka.client import client_options, connect
from pipeline.tools.checks.finding import Finding, away, bad, fine

_UNKNOWN_TOPIC: Final = 3
_ANSWER_TIMEOUT_MS: Final = 5_000
_FETCH_WAIT_MS: Final = 50
_READ_TIMEOUT_MS: Final = 500
"""Ten times what the broker waits: a missing right is the answer to a fetch, an empty topic gives none."""
_COORDINATOR_TIMEOUT_S: Final = 10.0
"""Seconds; a cluster that has seen no group yet first creates the topic of their offsets."""
_RETRY_INTERVAL_S: Final = 0.2
_CLOSE_TIMEOUT_MS: Final = 2_000
_PROTOCOL: Final = "cooperative-sticky"
_JOINED: Final = frozenset({"Stable", "CompletingRebalance", "PreparingRebalance"})


def kafka_findings(settings: Settings) -> Iterator[Finding]:
    """Yield the state of everything in Kafka that the daemon needs; stops at the first thing that hides the rest.

    Takes up to `kafka.bootstrap_timeout` and a few requests.
    """
    kafka = settings.kafka
    servers = ", ".join(kafka.bootstrap_servers)
    try:
        admin = connect(KafkaAdminClient, **client_options(kafka))
    except SourceUnavailable as error:
        yield away("kafka", str(error), "correct kafka.bootstrap_servers or kafka.security_protocol, or start Kafka")
        return
    with closing(admin):
        try:
            yield _cluster(admin, servers)
            described = _describe(admin, (*kafka.topics, settings.dead_letter_topic))
            readable = [topic for topic in kafka.topics if described[topic].ok]
            yield from (described[topic] for topic in kafka.topics)
            yield from _readable(kafka, admin, readable)
            yield described[settings.dead_letter_topic]
            yield _group(admin, kafka.group_id)
        except KafkaError as error:
            where = unreachable(admin, kafka.bootstrap_servers, kafka.bootstrap_timeout)
            if where:
                yield away("kafka", f"{servers} answers, but {where}", ADVERTISED)
                return
            yield away(
                "kafka", f"{servers} stopped answering: {cause_of(error)}", "look at the brokers, then check again"
            )


def _cluster(admin: Any, servers: str) -> Finding:
    brokers = len(admin.describe_cluster()["brokers"])
    return fine("kafka", f"{servers} answers: {brokers} broker{'s' if brokers > 1 else ''}")


def _describe(admin: Any, topics: Sequence[str]) -> dict[str, Finding]:
    described = {topic["name"]: topic for topic in admin.describe_topics(list(topics))}
    return {topic: _topic(topic, described.get(topic)) for topic in topics}


def _topic(name: str, described: Mapping[str, Any] | None) -> Finding:
    subject = f"topic {name}"
    code = described["error_code"] if described is not None else _UNKNOWN_TOPIC
    if code == _UNKNOWN_TOPIC:
        return bad(
            subject, "does not exist, or this user may not see it", "runstep migrate --topics, or grant DESCRIBE on it"
        )
    if described is None or code:
        return bad(subject, for_code(code).__name__, "grant DESCRIBE and READ on it (WRITE for the dead letters)")
    partitions = described["partitions"]
    headless = [part["partition_index"] for part in partitions if part["leader_id"] < 0]
    if headless:
        return bad(subject, f"no leader for partitions {headless}", "look at the brokers that hold them")
    return fine(subject, f"{len(partitions)} partition{'s' if len(partitions) > 1 else ''}")


def _readable(kafka: KafkaSettings, admin: Any, topics: Sequence[str]) -> Iterator[Finding]:
    if not topics:
        return
    options = client_options(kafka) | {"fetch_max_wait_ms": _FETCH_WAIT_MS, "auto_offset_reset": "latest"}
    consumer = connect(KafkaConsumer, group_id=None, enable_auto_commit=False, **options)
    try:
        for topic in topics:
            yield _read(consumer, admin, topic)
    finally:
        consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_MS)


def _read(consumer: Any, admin: Any, topic: str) -> Finding:
    subject = f"reading {topic}"
    numbers = [part["partition_index"] for part in admin.describe_topics([topic])[0]["partitions"]]
    partitions = [TopicPartition(topic, number) for number in numbers]
    try:
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
        starts = consumer.beginning_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
        for partition in partitions:
            consumer.seek(partition, ends[partition])
        consumer.poll(timeout_ms=_READ_TIMEOUT_MS)
    except KafkaError as error:
        return bad(subject, cause_of(error), f"grant READ on topic {topic}")
    held = sum(ends.values()) - sum(starts.values())
    return fine(subject, f"allowed; {held:,} offsets held")


def _group(admin: Any, group: str) -> Finding:
    subject = f"group {group}"
    try:
        described = described_group(admin, group)
    except GroupAuthorizationFailedError as error:
        return bad(subject, cause_of(error), f"grant READ and DESCRIBE on group {group}")
    except KafkaError as error:
        return bad(subject, cause_of(error), "look at the brokers that hold __consumer_offsets")
    state, members = described["group_state"], len(described["members"])
    if state not in _JOINED:
        return fine(subject, "has no members")
    if described["protocol_data"] not in {"", _PROTOCOL}:
        return bad(
            subject,
            f"its {members} members assign partitions by {described['protocol_data']}, runstep by {_PROTOCOL}",
            "stop the other program, or choose another kafka.group_id",
        )
    return fine(subject, f"{members} member{'s' if members > 1 else ''}, {state}")


def described_group(admin: Any, group: str) -> Mapping[str, Any]:
    """Return state and members of the group, as the admin client returns them.

    Raises:
        KafkaError: Kafka does not answer, or this user may not see the group.
    """
    deadline = time.monotonic() + _COORDINATOR_TIMEOUT_S
    while True:
        try:
            described: Mapping[str, Any] = admin.describe_groups([group])[group]
        except CoordinatorNotAvailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL_S)
        except ValueError as error:  # a state of another broker's that the client does not know
            raise KafkaError(f"an answer that kafka-python does not understand: {error}") from error
        else:
            return described


def cause_of(error: KafkaError) -> str:
    """Return what an error says, with its name."""
    text = str(error)
    name = type(error).__name__
    return text if name in text else f"{name}: {text}"
