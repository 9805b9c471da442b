"""What a consumer group has committed, also while its coordinator moves or is loading: Kafka says to ask again then."""

import time
from collections.abc import Mapping
from typing import Final

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

_TIMEOUT_S: Final = 60.0


def group_offsets(admin: KafkaAdminClient, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Return the committed offsets of a group."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            found: Mapping[TopicPartition, OffsetAndMetadata] = admin.list_group_offsets([group])[group]
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return found
