"""What reaches into kafka-python's private parts for the membership in the group, and a self-test of what that needs.

Owns what a static member needs beyond the client, which has no verbs for it. `internals.require` looks for `NEEDED`
before the daemon connects. For the thread that polls, unless a verb says otherwise.
"""

from collections.abc import Sequence
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import for_code
from kafka.structs import MemberState

from pipeline.kafka.internals import Need, lacks, partitions_of

try:
    from kafka.coordinator.consumer import ConsumerCoordinator
    from kafka.net.manager import KafkaConnectionManager
    from kafka.protocol.admin import DescribeGroupsRequest
    from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment
except ImportError as error:
    raise ImportError(lacks([str(error)])) from error

NEEDED: Final = (
    Need(KafkaConsumer, "_coordinator"),
    Need(ConsumerCoordinator, "_manager coordinator_id group_id is_dynamic_member need_rejoin request_rejoin"),
    Need(
        KafkaConnectionManager,
        "run send wait_for",
        {"run": (1, ()), "send": (1, ("node_id",)), "wait_for": (2, ())},
    ),
)


def leave_when_closed(consumer: Any) -> None:
    """Let a static member leave the group when it is closed, or not polled for too long, as a dynamic member does."""
    consumer._coordinator.is_dynamic_member = lambda: True  # noqa: SLF001


def settled_generation(consumer: Any) -> int | None:
    """Return the generation of the group in which this member has what it is to have, else None; any thread."""
    seen = consumer.group_metadata()
    settled = seen.state is MemberState.STABLE and not consumer._coordinator.need_rejoin()  # noqa: SLF001
    return seen.generation_id if settled else None


def join_again(consumer: Any) -> None:
    """Join the group again at the next poll, which makes it share out its partitions again."""
    consumer._coordinator.request_rejoin()  # noqa: SLF001


def unowned(consumer: Any, topics: Sequence[str], timeout_ms: int) -> set[TopicPartition] | None:
    """Return the partitions that no member of the group has, None while it changes; public only in the admin client.

    Raises:
        KafkaError: the coordinator did not answer in time, or does not tell.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    request = DescribeGroupsRequest(groups=[coordinator.group_id], include_authorized_operations=False)

    async def asked() -> Any:
        sent = coordinator._manager.send(request, node_id=coordinator.coordinator_id)  # noqa: SLF001
        return await coordinator._manager.wait_for(sent, timeout_ms)  # noqa: SLF001

    (group,) = coordinator._manager.run(asked).groups  # noqa: SLF001
    if group.error_code:
        raise for_code(group.error_code)
    if group.group_state != "Stable":
        return None
    known = {TopicPartition(topic, number) for topic in topics for number in partitions_of(consumer, topic)}
    assignments = [member.member_assignment for member in group.members if member.member_assignment]
    return known - {place for given in assignments for place in ConsumerProtocolAssignment.decode(given).partitions()}
