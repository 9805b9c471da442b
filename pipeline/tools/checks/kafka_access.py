"""Kafka: whether it answers, accepts the credentials, has the topics, allows reading them, and knows the group.

Asks only; nothing is created, joined, produced or committed.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import (
    BrokerResponseError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    RetriableError,
    for_code,
)
from kafka.structs import TopicPartition

from pipeline.config import KafkaSettings, Settings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.advertised import FIX as ADVERTISED
from pipeline.kafka.advertised import unreachable
from pipeline.kafka.client import client_options, connect
from pipeline.kafka.internals import known_brokers
from pipeline.tools.checks.finding import Finding, away, bad, fine, guarded

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
_CLASSIC: Final = "classic"
_EMPTY: Final = "Empty"
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
            yield from _contents(admin, settings)
        except KafkaError as error:
            where = unreachable(admin, kafka.bootstrap_servers, kafka.bootstrap_timeout)
            if where:
                yield away("kafka", f"{servers} answers, but {where}", ADVERTISED)
                return
            yield away(
                "kafka", f"{servers} stopped answering: {cause_of(error)}", "look at the brokers, then check again"
            )


def _contents(admin: Any, settings: Settings) -> Iterator[Finding]:
    kafka, dead_letters = settings.kafka, settings.dead_letter_topic
    yield from answered("kafka", _cluster(admin, ", ".join(kafka.bootstrap_servers)))
    seen = list(answered("topics", _topics(admin, (*kafka.topics, dead_letters))))
    yield from seen
    there = {finding.subject for finding in seen if finding.ok}
    for topic in kafka.topics:
        if f"topic {topic}" in there:
            yield from answered(f"reading {topic}", _read(kafka, admin, topic))
    yield from answered(f"group {kafka.group_id}", _group(admin, kafka))


def answered(subject: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield what the daemon needs; an error that Kafka answers with is about this subject only.

    Raises:
        KafkaError: Kafka has stopped answering, so the rest need not be asked.
    """
    try:
        yield from guarded(subject, findings, (KafkaError,), required=True)
    except KafkaError as error:
        if is_silence(error):
            raise
        yield bad(subject, cause_of(error), "look at the ACLs of this user, and at the brokers' logs")


def is_silence(error: KafkaError) -> bool:
    """Return whether it says that Kafka gave no answer."""
    return isinstance(error, RetriableError) and not isinstance(error, BrokerResponseError)


def _cluster(admin: Any, servers: str) -> Iterator[Finding]:
    brokers = known_brokers(admin)
    yield fine("kafka", f"{servers} answers: {brokers} broker{'s' if brokers > 1 else ''}")


def _topics(admin: Any, topics: Sequence[str]) -> Iterator[Finding]:
    described = {topic["name"]: topic for topic in admin.describe_topics(list(topics))}
    for topic in topics:
        yield from guarded(f"topic {topic}", [_topic(topic, described.get(topic))], required=True)


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


def _read(kafka: KafkaSettings, admin: Any, topic: str) -> Iterator[Finding]:
    subject = f"reading {topic}"
    numbers = [part["partition_index"] for part in admin.describe_topics([topic])[0]["partitions"]]
    partitions = [TopicPartition(topic, number) for number in numbers]
    options = client_options(kafka) | {"fetch_max_wait_ms": _FETCH_WAIT_MS, "auto_offset_reset": "latest"}
    consumer = connect(KafkaConsumer, group_id=None, enable_auto_commit=False, **options)
    try:
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
        starts = consumer.beginning_offsets(partitions, timeout_ms=_ANSWER_TIMEOUT_MS)
        for partition in partitions:
            consumer.seek(partition, ends[partition])
        consumer.poll(timeout_ms=_READ_TIMEOUT_MS)
    except KafkaError as error:
        yield bad(subject, cause_of(error), f"grant READ on topic {topic}")
    else:
        held = sum(ends.values()) - sum(starts.values())
        yield fine(subject, f"allowed; {held:,} offsets held")
    finally:
        consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_MS)


def _group(admin: Any, kafka: KafkaSettings) -> Iterator[Finding]:
    group = kafka.group_id
    subject = f"group {group}"
    try:
        described = described_group(admin, group)
    except GroupAuthorizationFailedError as error:
        yield bad(subject, cause_of(error), f"grant READ and DESCRIBE on group {group}")
        return
    except KafkaError as error:
        yield bad(subject, cause_of(error), "look at the brokers that hold __consumer_offsets")
        return
    state, members = described["group_state"], len(described["members"])
    if state not in _JOINED and (foreign := other_kind(admin, kafka)):
        yield bad(subject, *foreign)
    elif state not in _JOINED:
        yield fine(subject, "has no members")
    elif described["protocol_data"] not in {"", _PROTOCOL}:
        yield bad(
            subject,
            f"its {members} members assign partitions by {described['protocol_data']}, runstep by {_PROTOCOL}",
            "stop the other program, or choose another kafka.group_id",
        )
    else:
        yield fine(subject, f"{members} member{'s' if members > 1 else ''}, {state}")


def other_kind(admin: Any, kafka: KafkaSettings) -> tuple[str, str] | None:
    """Return what is wrong with the kind of a group that shows no members, and the fix; None where nothing is known.

    A member with `group.protocol=consumer` (KIP-848) turns the whole group into one whose members `describe_groups`
    does not show, runstep's own included. It gets partitions like any other member. Brokers before 4.0 know no kinds.
    """
    try:
        listed: Mapping[str, str]
        listed = next((one for one in admin.list_groups() if one["group_id"] == kafka.group_id), {})
    except KafkaError:
        return None
    kind, state = listed.get("group_type") or _CLASSIC, listed.get("group_state") or _EMPTY
    if kind.lower() == _CLASSIC or state in {_EMPTY, "Dead"}:
        return None
    names = f"kafka-consumer-groups.sh --bootstrap-server {','.join(kafka.bootstrap_servers)} --describe --members"
    stranger = "a program with group.protocol=consumer (KIP-848) is in it, and takes partitions"
    return (
        f"is of type {kind} ({state}): {stranger}",
        f"`{names} --group {kafka.group_id}` names it; stop it, or choose another kafka.group_id",
    )


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
