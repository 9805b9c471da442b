"""Producers' transactions that stay open: what waits behind each, whose it is, and the command that ends it.

Reads only.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from pipeline.config import KafkaSettings
from pipeline.text import duration
from pipeline.tools.checks.finding import Finding, bad, fine, warning
from pipeline.tools.checks.kafka_access import cause_of


def transaction_findings(admin: Any, kafka: KafkaSettings) -> Iterator[Finding]:
    """Yield the partitions that end in front of an open transaction.

    Raises:
        KafkaError: Kafka does not answer, or this user may not see the topics.
    """
    partitions = [
        TopicPartition(topic["name"], part["partition_index"])
        for topic in admin.describe_topics(list(kafka.topics))
        if not topic["error_code"]
        for part in topic["partitions"]
    ]
    # The high watermarks first: what is produced between the two answers waits for nothing.
    last = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    stable = admin.list_partition_offsets(
        dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level="read_committed"
    )
    for part in partitions:
        behind = last[part].offset - stable[part].offset
        if behind > 0:
            yield _held_back(admin, kafka, part, stable[part].offset, behind)


def _held_back(admin: Any, kafka: KafkaSettings, part: TopicPartition, start: int, behind: int) -> Finding:
    subject = f"partition {part.topic}/{part.partition}"
    waits = (
        f"{behind:,} offset{'s wait' if behind > 1 else ' waits'} behind a transaction that is open at offset {start}"
    )
    try:
        producer = _producer(admin, part, start)
    except KafkaError as error:
        fix = f"grant READ on topic {part.topic}, or {_command('find-hanging', kafka, part)}"
        return warning(subject, f"{waits}; its producer is unknown: {cause_of(error)}", f"{fix}`")
    if producer is None:
        return fine(subject, f"{waits}, and has ended meanwhile")
    seconds = time.time() - producer.last_timestamp / 1000
    owner = _transactional_id(admin, producer.producer_id)
    detail = f"{waits}, by producer {producer.producer_id}{_named(owner)}, whose last record is {duration(seconds)} old"
    if seconds < kafka.max_open_transaction:
        return fine(subject, detail)
    return bad(subject, detail, f"{_gentler(owner)}{_command('abort', kafka, part)} --start-offset {start}`")


def _producer(admin: Any, part: TopicPartition, start: int) -> Any:
    """Return the producer whose transaction begins at an offset; None where it has ended."""
    active: Mapping[TopicPartition, Any] = admin.describe_producers([part])
    opened: Sequence[Any] = active[part].active_producers
    return next((found for found in opened if found.current_transaction_start_offset == start), None)


def _transactional_id(admin: Any, producer_id: int) -> str | None:
    """Return the transactional id; empty where no coordinator knows the transaction, None where none tells."""
    try:
        listed = admin.list_transactions(producer_id_filters=[producer_id], state_filters=["Ongoing"])
    except KafkaError:
        return None
    return next((found.transactional_id for each in listed.values() for found in each), "")


def _named(transactional_id: str | None) -> str:
    return f" (transactional.id {transactional_id})" if transactional_id else ""


def _gentler(transactional_id: str | None) -> str:
    if transactional_id:
        return "end that producer and start it again, which ends the transaction everywhere; where it is gone, "
    return "no coordinator knows it, so nothing else ends it: " if transactional_id == "" else ""


def _command(verb: str, kafka: KafkaSettings, part: TopicPartition) -> str:
    tool = f"kafka-transactions.sh --bootstrap-server {','.join(kafka.bootstrap_servers)}"
    return f"run `{tool} {verb} --topic {part.topic} --partition {part.partition}"
