"""What the topics' own settings allow: whether every record fits into the dead letters, whether some vanish unread."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kafka.admin import ConfigResource

from pipeline.config import Settings
from pipeline.tools.checks.finding import Finding, fine, warning

_PROVENANCE: Final = 16_384
"""Bytes that a dead letter's headers may take beside the record's own."""
_LARGEST: Final = "max.message.bytes"


def topic_findings(admin: Any, settings: Settings) -> Iterator[Finding]:
    """Yield what the topics' settings mean for us; a topic that is missing is left out.

    Raises:
        KafkaError: we may not see them.
    """
    dead_letters = settings.dead_letter_topic
    described = admin.describe_topics(list(dict.fromkeys((*settings.kafka.topics, dead_letters))))
    present = {topic["name"]: topic["partitions"] for topic in described if not topic["error_code"]}
    told = admin.describe_configs([ConfigResource("topic", name) for name in present], config_filter="all")
    configs = {name: _values(found) for name, found in told.get("topic", {}).items() if found}
    for name in settings.kafka.topics:
        if name in configs:
            yield from _source(name, configs[name], present[name])
    if dead_letters in configs:
        sources = {name: int(configs[name][_LARGEST]) for name in settings.kafka.topics if name in configs}
        yield from _dead_letters(settings, dead_letters, int(configs[dead_letters][_LARGEST]), sources)


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


def _dead_letters(settings: Settings, name: str, limit: int, sources: Mapping[str, int]) -> Iterator[Finding]:
    subject = f"topic {name}"
    ours = settings.dead_letter.max_request_size
    if not sources:
        return
    source, largest = max(sources.items(), key=lambda item: item[1])
    needed = largest + _PROVENANCE
    told = f"the largest record of {source} ({largest:,} bytes) does not fit there whole"
    if limit < needed:
        wanted = max(needed, ours)
        yield warning(subject, f"{_LARGEST} = {limit:,}: {told}", f"set {_LARGEST} = {wanted} for {name}")
    elif ours < needed:
        yield warning(subject, f"dead_letter.max_request_size = {ours:,}: {told}", f"set it to {min(limit, needed)}")
    elif limit < ours:
        detail = f"{_LARGEST} = {limit:,} is less than dead_letter.max_request_size = {ours:,}"
        yield warning(subject, detail, f"set {_LARGEST} = {ours} for {name}")
    else:
        yield fine(subject, f"takes the largest record of every topic ({limit:,} bytes)")
