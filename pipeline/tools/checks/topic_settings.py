"""The topics' own settings: whether every record fits into a dead letter, whether some are deleted unread."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kafka.admin import ConfigResource

from pipeline.config import Settings
from pipeline.tools.checks.finding import Finding, fine, guarded, warning

_MAX_HEADERS_BYTES: Final = 16_384
"""Bytes that a dead letter's headers may take beside the record's own."""
_MAX_RECORD: Final = "max.message.bytes"


def topic_findings(admin: Any, settings: Settings) -> Iterator[Finding]:
    """Yield what the topics' settings mean for the daemon; a topic that is missing is left out.

    Raises:
        KafkaError: this user may not see them.
    """
    dead_letters = settings.dead_letter_topic
    described = admin.describe_topics(list(dict.fromkeys((*settings.kafka.topics, dead_letters))))
    present = {topic["name"]: topic["partitions"] for topic in described if not topic["error_code"]}
    described_configs = admin.describe_configs([ConfigResource("topic", name) for name in present], config_filter="all")
    configs = {name: _values(found) for name, found in described_configs.get("topic", {}).items() if found}
    for name in settings.kafka.topics:
        if name in configs:
            yield from guarded(f"topic {name}", _source(name, configs[name], present[name]))
    if dead_letters in configs:
        yield from guarded(f"topic {dead_letters}", _dead_letters(settings, dead_letters, configs))


def _values(found: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(entry["value"]) for key, entry in found.items()}


def _source(name: str, config: Mapping[str, str], partitions: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    subject = f"topic {name}"
    if "compact" in config["cleanup.policy"]:
        detail = f"cleanup.policy = {config['cleanup.policy']}: Kafka drops events of a key before they are read"
        yield warning(subject, detail, f"set cleanup.policy = delete for {name}")
    under = [part["partition_index"] for part in partitions if len(part["isr_nodes"]) < len(part["replica_nodes"])]
    if under:
        yield warning(
            subject, f"partitions {under} have fewer replicas in sync than they should", "look at the brokers"
        )
    replicas = min((len(part["replica_nodes"]) for part in partitions), default=0)
    yield fine(subject, f"replication {replicas}, min.insync.replicas {config['min.insync.replicas']}")


def _dead_letters(settings: Settings, name: str, configs: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    subject = f"topic {name}"
    own, limit = settings.dead_letter.max_request_size, int(configs[name][_MAX_RECORD])
    sources = {topic: int(configs[topic][_MAX_RECORD]) for topic in settings.kafka.topics if topic in configs}
    if not sources:
        return
    source, largest = max(sources.items(), key=lambda item: item[1])
    needed = largest + _MAX_HEADERS_BYTES
    misfit = f"the largest record of {source} ({largest:,} bytes) does not fit there whole"
    if limit < needed:
        wanted = max(needed, own)
        yield warning(subject, f"{_MAX_RECORD} = {limit:,}: {misfit}", f"set {_MAX_RECORD} = {wanted} for {name}")
    elif own < needed:
        yield warning(subject, f"dead_letter.max_request_size = {own:,}: {misfit}", f"set it to {min(limit, needed)}")
    elif limit < own:
        detail = f"{_MAX_RECORD} = {limit:,} is less than dead_letter.max_request_size = {own:,}"
        yield warning(subject, detail, f"set {_MAX_RECORD} = {own} for {name}")
    else:
        yield fine(subject, f"takes the largest record of every topic ({limit:,} bytes)")
