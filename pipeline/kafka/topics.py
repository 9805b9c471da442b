"""Which of the configured topics Kafka has, and creating those it lacks; only `migrate --topics` and `demo` do that."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import AuthorizationError, BrokerResponseError, KafkaError, TopicAlreadyExistsError

from pipeline.config import Settings
from pipeline.errors import ConfigError, ServiceUnavailable
from pipeline.kafka.client import client_options, connect

_UNKNOWN_TOPIC: Final = 3

BROKER_DEFAULT: Final = -1
"""Partitions or replicas as the broker's configuration says."""


class Topic(NamedTuple):
    """A topic that the settings name, and whether Kafka has it."""

    name: str
    state: Literal["present", "missing", "created"]
    partitions: int


def topics(settings: Settings) -> list[Topic]:
    """Return the configured topics and the dead-letter topic as Kafka has them.

    Raises:
        ServiceUnavailable: Kafka is away.
        ConfigError: kafka-python does not accept the settings.
    """
    admin = connect(KafkaAdminClient, **client_options(settings.kafka))
    try:
        return _describe(admin, settings)
    finally:
        admin.close()


def create_topics(
    settings: Settings, partitions: int = BROKER_DEFAULT, replication_factor: int = BROKER_DEFAULT
) -> list[Topic]:
    """Create the topics that are missing, the dead-letter topic too; return all that the settings name.

    Topics that are there stay as they are: more partitions would tear a step's events apart.

    Args:
        settings: names of the topics, and where Kafka is.
        partitions: of each new topic that is read; the dead-letter topic has as many as the broker gives it.
        replication_factor: copies of each partition, at most the number of brokers.

    Raises:
        ServiceUnavailable: Kafka is away.
        ConfigError: Kafka does not create a topic; the message names it and the reason.
    """
    admin = connect(KafkaAdminClient, **client_options(settings.kafka))
    try:
        found = _describe(admin, settings)
        made = {topic.name for topic in found if topic.state == "missing"}
        for name in sorted(made):
            number = BROKER_DEFAULT if name == settings.dead_letter_topic else partitions
            _create(admin, NewTopic(name, number, replication_factor, topic_configs=_configs(settings, name)))
        return [
            topic._replace(state="created") if topic.name in made else topic for topic in _describe(admin, settings)
        ]
    finally:
        admin.close()


def _configs(settings: Settings, name: str) -> Mapping[str, str]:
    if name != settings.dead_letter_topic:
        return {}
    # A dead letter is the record and its provenance: it is always larger, and the default of 1 MB would reject it.
    return {"max.message.bytes": str(settings.dead_letter.max_request_size)}


def _create(admin: Any, topic: NewTopic) -> None:
    try:
        admin.create_topics([topic], wait_for_metadata=True)
    except TopicAlreadyExistsError:
        return  # another migration was faster
    except AuthorizationError as error:
        raise ConfigError(f"Kafka does not allow to create topic {topic.name}: {error}") from error
    except BrokerResponseError as error:
        raise ConfigError(
            f"Kafka does not create topic {topic.name}: {error}; see --partitions and --replication-factor"
        ) from error
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka failed to create topic {topic.name}: {error}") from error


def _describe(admin: Any, settings: Settings) -> list[Topic]:
    names = list(dict.fromkeys((*settings.kafka.topics, settings.dead_letter_topic)))
    try:
        found: Sequence[Mapping[str, Any]] = admin.describe_topics(names)
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka does not describe its topics: {error}") from error
    by_name = {topic["name"]: topic for topic in found}
    return [_topic(name, by_name.get(name, {"error_code": _UNKNOWN_TOPIC, "partitions": []})) for name in names]


def _topic(name: str, described: Mapping[str, Any]) -> Topic:
    if described["error_code"] == _UNKNOWN_TOPIC:
        return Topic(name, "missing", 0)
    if described["error_code"]:
        raise ConfigError(f"Kafka does not show topic {name}: error {described['error_code']}; check the user's ACLs")
    return Topic(name, "present", len(described["partitions"]))
