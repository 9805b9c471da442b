"""What reaches into kafka-python's private parts for the state of its connections, and a self-test of what that needs.

Owns the pauses that brokers ordered, the brokers that are not reached at the address by which they go, and a request
that the client has no method for. As in `internals`, verbs for the other files. For the thread that polls, or that has
an admin client.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from pipeline.kafka.internals import Need, lacks

try:
    from kafka.cluster import ClusterMetadata
    from kafka.net.compat import KafkaNetClient
    from kafka.net.manager import KafkaConnectionManager
    from kafka.net.transport import KafkaTCPTransport
    from kafka.protocol.admin import DescribeClientQuotasRequest
except ImportError as error:
    raise ImportError(lacks([str(error)])) from error

NEEDED: Final = (
    Need(KafkaConsumer, "_client _cluster _manager"),
    Need(KafkaAdminClient, "_manager"),
    Need(ClusterMetadata, "_coordinators broker_metadata brokers leader_for_partition"),
    Need(KafkaNetClient, "connected throttle_delay"),
    Need(KafkaTCPTransport, "getPeer host"),
    Need(KafkaConnectionManager, "_conns cluster get_connection reset_backoff run send wait_for"),
)
"""What tells the state of connections."""

_EXACTLY: Final = 0


class Broker(NamedTuple):
    """A broker by what the cluster calls it."""

    node: Any
    """Its number; the client has connections of their own to coordinators, under other names."""
    address: str
    """host:port, as its `advertised.listeners` says."""

    @property
    def name(self) -> str:
        """Return its number."""
        return str(self.node).removeprefix("coordinator-")


def is_throttled(consumer: Any, partition: TopicPartition) -> bool:
    """Return whether the leader of a partition has ordered a pause that is not over."""
    return bool(consumer._client.throttle_delay(consumer._cluster.leader_for_partition(partition)))  # noqa: SLF001


def longest_pause(consumer: Any) -> float:
    """Return for how many seconds this client is to send nothing to some broker; 0 if to none."""
    client = consumer._client  # noqa: SLF001
    left = [client.throttle_delay(node) for node in list(consumer._manager._conns)]  # noqa: SLF001
    return max(left, default=0.0) / 1000


def reaches_leader(consumer: Any, partition: TopicPartition) -> bool:
    """Return whether there is a connection to the leader of a partition."""
    return bool(consumer._client.connected(consumer._cluster.leader_for_partition(partition)))  # noqa: SLF001


def unconnected(client: Any) -> list[Broker]:
    """Return the known brokers that this consumer or admin client has no connection to, the group's coordinator too."""
    manager = client._manager  # noqa: SLF001
    cluster = manager.cluster
    nodes = [*(broker.node_id for broker in cluster.brokers()), *cluster._coordinators.values()]  # noqa: SLF001
    connected = {node for node, connection in list(manager._conns.items()) if connection.connected}  # noqa: SLF001
    known = [(node, cluster.broker_metadata(node)) for node in nodes if node not in connected]
    return [Broker(node, _address(broker.host, broker.port)) for node, broker in known if broker is not None]


def connected_addresses(client: Any) -> set[str]:
    """Return the addresses, as the client was given them, that it has a connection to."""
    found = set()
    for connection in list(client._manager._conns.values()):  # noqa: SLF001
        transport = connection.transport
        if connection.connected and transport is not None:
            with suppress(OSError, AttributeError):  # it is closed meanwhile, by the IO thread
                found.add(_address(transport.host, transport.getPeer()[1]))
    return found


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reach(client: Any, broker: Broker, timeout_ms: int) -> None:
    """Connect to a broker at the address by which it goes.

    Raises:
        KafkaError: why it is not reached.
    """
    manager = client._manager  # noqa: SLF001

    async def tried() -> None:
        manager.reset_backoff(broker.node)
        await manager.wait_for(manager.get_connection(broker.node).init_future, timeout_ms)

    manager.run(tried)


def client_quotas(admin: Any, client_id: str) -> Iterator[tuple[str, float]]:
    """Yield the limits that the cluster sets for a client id, also together with a user.

    Raises:
        KafkaError: Kafka does not answer.
    """
    component = DescribeClientQuotasRequest.ComponentData(entity_type="client-id", match_type=_EXACTLY, match=client_id)
    request = DescribeClientQuotasRequest(components=[component], strict=False)
    manager = admin._manager  # noqa: SLF001
    answer = manager.run(manager.send, request)
    for entry in answer.entries or ():
        yield from ((value.key, value.value) for value in entry.values)
