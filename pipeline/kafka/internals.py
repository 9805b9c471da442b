"""What reaches into kafka-python's private parts: verbs for the other files, and a self-test of what they need.

Owns the ways around three faults of the client (`Consumer`), and what its public methods do not offer: positions with a
leader epoch, the ids of topics, the metadata of single topics. The daemon cannot do without any of it, so `require`
compares the client, which is pinned, with `NEEDED` before it connects. What the membership in the group needs is in
`group_internals`, the state of connections in `connection_internals`; what a faster decoder builds on, and the daemon
can do without, is in `decoder_internals`; no other file has such uses. For the thread that polls, unless a verb says
otherwise.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.metrics.stats import Total
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.errors import ConfigError

TESTED_WITH: Final = "3.0.12"
"""The version of kafka-python that is pinned, and that all of this was tested with."""


def lacks(parts: Sequence[str]) -> str:
    """Return a sentence that names what kafka-python lacks, its version, and the version to install."""
    return (
        f"kafka-python {kafka.__version__} lacks what runstep needs of it: {', '.join(parts)}; "
        f"install kafka-python {TESTED_WITH}, which runstep was tested with"
    )


try:
    from kafka.cluster import ClusterMetadata
    from kafka.consumer.fetcher import Fetcher
    from kafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
    from kafka.coordinator.consumer import ConsumerCoordinator
    from kafka.future import Future
    from kafka.net.compat import KafkaNetClient
    from kafka.net.manager import KafkaConnectionManager
    from kafka.net.sasl.oauth import AbstractTokenProvider
except ImportError as error:
    raise ImportError(lacks([str(error)])) from error

Client = TypeVar("Client")


class Need(NamedTuple):
    """Attributes of a class of the client, which its instances may set themselves; and how some of them are called."""

    owner: Any
    names: str
    calls: Mapping[str, tuple[int, tuple[str, ...]]] = {}
    """By name: positional arguments, and named ones."""


NEEDED: Final = (
    Need(KafkaAdminClient, "_manager"),
    Need(KafkaConsumer, "_cluster _coordinator _fetcher _manager _metrics _subscription"),
    Need(ClusterMetadata, "_last_successful_refresh_ms brokers partitions_for_topic request_update topic_id"),
    Need(
        ConsumerCoordinator,
        "_join_task _manager fetch_committed_offsets join_group_async need_rejoin rebalance_in_progress rejoining "
        "request_rejoin reset_generation state",
        {"fetch_committed_offsets": (1, ("timeout_ms",)), "join_group_async": (0, ("timeout_ms",))},
    ),
    Need(Fetcher, "_next_partition_records config"),
    Need(Future, "chain is_done", {"chain": (1, ())}),
    Need(KafkaConnectionManager, "call_soon cluster run wait_for", {"wait_for": (2, ()), "run": (1, ())}),
    Need(KafkaNetClient, "close"),
    Need(SubscriptionState, "assignment seek", {"seek": (2, ())}),
    Need(TopicPartitionState, "highwater position"),
)
"""What the daemon cannot do without."""


def require(needed: Sequence[Need]) -> None:
    """Refuse a client that lacks a part which the daemon cannot do without. For any thread, before it connects.

    Raises:
        ConfigError: it names the missing parts.
    """
    if parts := missing(needed):
        raise ConfigError(lacks(parts))


def missing(needed: Sequence[Need]) -> list[str]:
    """Return the parts that this version of the client lacks, or that it calls in another way."""
    return [
        f"{need.owner.__qualname__}.{name}" for need in needed for name in need.names.split() if not _has(need, name)
    ]


def _has(need: Need, name: str) -> bool:
    if not hasattr(need.owner, name):
        # An attribute that the constructor sets is among the names that it uses.
        constructors = [vars(base).get("__init__") for base in need.owner.__mro__]
        return any(name in made.__code__.co_names for made in constructors if hasattr(made, "__code__"))
    if name not in need.calls:
        return True
    positional, named = need.calls[name]
    try:
        inspect.signature(getattr(need.owner, name)).bind(None, *[None] * positional, **dict.fromkeys(named))
    except TypeError:
        return False
    return True


# every client

TokenProvider: Final = AbstractTokenProvider
"""The base of what gives OAUTHBEARER tokens."""


def make_client(client_class: Callable[..., Client], options: Mapping[str, Any]) -> Client:
    """Make a consumer, producer or admin client; any thread.

    A constructor that fails leaves its IO thread and three file descriptors behind; they are released here.
    """
    made: list[Any] = []

    def factory(**configs: Any) -> Any:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    try:
        return client_class(kafka_client=factory, **options)
    except BaseException:
        for client in made:
            client.close()
        raise


def known_brokers(admin: Any) -> int:
    """Return how many brokers the cluster has, as the admin client learned when it connected; any thread.

    Its own `describe_cluster` fails with a KeyError on the answer of Kafka before 3.7 and of Redpanda.
    """
    return len(admin._manager.cluster.brokers())  # noqa: SLF001


# the consumer


class Consumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python is not typed
    """A consumer without three faults of kafka-python 3.0.12, none of which shows as an exception.

    A join continues in the background when a poll ends before it, and a later poll takes its result if the client still
    thinks that it has to join. Where new metadata alone called for the join (the first came late, partitions were
    added), making the assignment settles that: no poll takes the result, and the member has neither partitions nor
    heartbeats until the process ends. For the others see `_keep_joins` and `_report_lost`.

    What was fetched of a partition that is paused is put aside, and taken up again where no other partition's chunk is
    at hand. A chunk that is used up stays at hand, though: with nothing new of any other partition, a partition that
    was resumed is neither delivered nor fetched until another one has records.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _keep_joins(self._coordinator)
        _report_lost(self._coordinator)
        self.throttled = _total_throttling(self._metrics)

    def poll(self, *arguments: Any, **options: Any) -> Any:
        """Poll; take up what was put aside, and leave an unfinished join to the next poll."""
        fetcher = self._fetcher
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        try:
            return super().poll(*arguments, **options)
        finally:
            coordinator = self._coordinator
            if coordinator.rebalance_in_progress() and not coordinator.need_rejoin():
                coordinator.request_rejoin()


def _keep_joins(coordinator: Any) -> None:
    """Let a join that ended between two polls count.

    The client looks at the end of a join only while a poll waits for it. One that ended earlier it throws away, with
    the assignment, and joins again, which makes all others join again: two busy members can repeat that without end.
    Here such a join is made to end once more, while the poll waits. Runs on the client's IO thread.
    """
    join = coordinator.join_group_async

    async def join_group(timeout_ms: float | None = None) -> Any:
        ended = coordinator._join_task  # noqa: SLF001
        if ended is not None and ended.is_done and coordinator.state is MemberState.REBALANCING:
            again = Future()
            coordinator._join_task = again  # noqa: SLF001
            coordinator._manager.call_soon(lambda: ended.chain(again))  # noqa: SLF001
        return await join(timeout_ms=timeout_ms)

    coordinator.join_group_async = join_group


def _report_lost(coordinator: Any) -> None:
    """Notify a member that falls out of the group while it joins that it has lost everything.

    The client calls the listener before the first request of a rebalance, once. A member that is put out between that
    and the end of the join joins again as a new one, keeps its partitions and its positions, and would read and count
    again what others have committed meanwhile (the Java client fixed it as KAFKA-12983). Runs on the IO thread.
    """
    forget = coordinator.reset_generation

    def reset_generation(*arguments: Any, **options: Any) -> None:
        forget(*arguments, **options)
        coordinator.rejoining = False

    coordinator.reset_generation = reset_generation


def _total_throttling(metrics: Any) -> Total:
    """Let the client add up the milliseconds for which brokers pause it; it only has their average and their peak."""
    total = Total()
    name = metrics.metric_name("throttle-time-total", "consumer-metrics", "Milliseconds of all pauses.")
    metrics.sensor("throttle-time").add(name, total)
    return total


def throttled_seconds(consumer: Any) -> float:
    """Return for how long brokers have made this client pause, by their quotas, since it was made."""
    milliseconds: float = consumer.throttled.measure(None, 0)
    return milliseconds / 1000


def seek_with_epoch(consumer: Any, partition: TopicPartition, offset: int, epoch: int) -> None:
    """Read on at an offset, with the leader epoch of what lies before it; the public `seek` takes none."""
    consumer._subscription.seek(partition, OffsetAndMetadata(offset, "", epoch))  # noqa: SLF001


def position_with_epoch(consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
    """Return where the client reads on, with its leader epoch; None where it does not know.

    The public method has no epoch, asks the brokers, and takes the one report of a truncation there is.
    """
    state = consumer._subscription.assignment.get(partition)  # noqa: SLF001
    return None if state is None else state.position


def high_watermark(consumer: Any, partition: TopicPartition) -> int | None:
    """Return where the log ends as the last fetch said; the public method raises for a partition that was withdrawn."""
    state = consumer._subscription.assignment.get(partition)  # noqa: SLF001
    return None if state is None else state.highwater


def committed_offsets(
    consumer: Any, partitions: Collection[TopicPartition], timeout_ms: int
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Return the group's committed offsets, in one request; the public method makes one for each partition.

    Raises:
        KafkaError: the coordinator did not answer in time.
    """
    committed: Mapping[TopicPartition, OffsetAndMetadata] = consumer._coordinator.fetch_committed_offsets(  # noqa: SLF001
        partitions, timeout_ms=timeout_ms
    )
    return committed


def topic_id(consumer: Any, topic: str) -> Any:
    """Return the id of a topic as last known, else None; public only in the admin client, as a request."""
    return consumer._cluster.topic_id(topic)  # noqa: SLF001


def partitions_of(consumer: Any, topic: str) -> Collection[int]:
    """Return the numbers of a topic's partitions as last known; the public method asks for all topics, and waits."""
    return consumer._cluster.partitions_for_topic(topic) or ()  # noqa: SLF001


def knows_brokers(consumer: Any) -> bool:
    """Return whether the client knows any broker."""
    return bool(consumer._cluster.brokers())  # noqa: SLF001


def last_answer(consumer: Any) -> float:
    """Return when brokers last described the topics, by a clock of the client's own."""
    answered: float = consumer._cluster._last_successful_refresh_ms  # noqa: SLF001
    return answered


def refresh_metadata(consumer: Any, timeout_ms: int) -> None:
    """Wait for new metadata; the public ways ask for all topics of the cluster.

    Raises:
        KafkaError: it did not come in time.
    """
    manager = consumer._manager  # noqa: SLF001

    async def asked() -> None:
        await manager.wait_for(manager.cluster.request_update(), timeout_ms)

    manager.run(asked)


def double_fetch_size(consumer: Any, most: int) -> None:
    """Let the next fetches of a partition be twice as large, at most so many bytes; public only for a new consumer."""
    options = consumer._fetcher.config  # noqa: SLF001
    options["max_partition_fetch_bytes"] = min(options["max_partition_fetch_bytes"] * 2, most)
