"""Notices members of other programs in the group: Kafka gives them partitions, and what is in those never reaches us.

The member that leads the group shares out the partitions, so it sees all members, at no cost; the others do not. Used
by the owner's thread, but for `remark`.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import structlog
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from pipeline.config import KafkaSettings

log = structlog.get_logger(__name__)

_MEMBER_ID: Final = re.compile(r"(?P<client>.*)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""How the coordinator names a member: by its client id, or by its static name, and a UUID."""

_WORKER: Final = re.compile(r"-\d+$")


class Assignor(CooperativeStickyAssignor):  # type: ignore[misc]  # kafka-python is not typed
    """Shares out partitions as the client does, and keeps who was there. A subclass for each consumer."""

    members: Iterable[Any] | None = None
    """Of the last rebalance that this consumer led, until it is looked at; written on the client's IO thread."""

    def assign(self, cluster: Any, members: Any) -> Any:
        """Share out the partitions."""
        type(self).members = list(members)
        return super().assign(cluster, members)


def assignor() -> type[Assignor]:
    """Return the assignor of one consumer."""
    return type("OwnAssignor", (Assignor,), {})


class Strangers:
    """What the rebalances that this member led showed.

    Attributes:
        remark: which members are of other programs, and what to do; None if none is, or if another member leads.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        base = re.escape(_WORKER.sub("", settings.client_id))
        self._own = re.compile(rf"{base}(-\d+)?")
        self._generation = -1
        self.remark: str | None = None

    def look(self, consumer: Any) -> None:
        """Take in the last rebalance."""
        generation = consumer.group_metadata().generation_id
        own = consumer.config["partition_assignment_strategy"][0]
        members, own.members = own.members, None
        if members is not None:
            self._name(sorted({name for member in members if (name := self._stranger(member))}))
        elif generation != self._generation:
            self.remark = None
        self._generation = generation

    def _stranger(self, member: Any) -> str:
        """Return the name of a member that is not the daemon's own; empty if it is, or if it cannot be known."""
        found = _MEMBER_ID.fullmatch(member.member_id)
        client = found["client"] if found else member.member_id
        foreign = not set(member.metadata.topics) <= set(self._settings.topics)
        # A static member goes by a name of its own, and workers are called by their numbers.
        unknown = not member.group_instance_id and not self._own.fullmatch(client)
        return client if foreign or unknown else ""

    def _name(self, strangers: list[str]) -> None:
        before, kafka = self.remark, self._settings
        self.remark = (
            f"{', '.join(map(repr, strangers))} in group {kafka.group_id!r} may be another program, since "
            f"kafka.client_id is {kafka.client_id!r} here: what is in its partitions is not read; give one of the two "
            "another kafka.group_id, or both the same kafka.client_id"
            if strangers
            else None
        )
        if self.remark and self.remark != before:
            log.warning("strangers_in_group", message="another program may be in the group", cause=self.remark)
