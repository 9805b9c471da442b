"""What fields alone cannot check: relations between settings, files that must exist, packages that must be there.

Each check yields lines for the user that name the settings involved and the fix.
"""

import importlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pipeline.config.sections import host_port
from pipeline.config.security import clickhouse_access, http_access, kafka_access
from pipeline.config.settings import Settings, mask_url

_MAX_IDLE_S = 540
"""Seconds after which kafka-python closes an idle connection; a request must not be allowed to take longer."""

CODECS: Final = ("crc32c", "lz4.frame", "zstandard", "snappy", "cramjam")
"""Without crc32c reading is ten times slower; a missing codec stops the partition that needs it."""


def broken_relations(settings: Settings) -> list[str]:
    """Return a line for every relation that does not hold; none means that the settings can work together."""
    return [line for check in _CHECKS for line in check(settings)]


def missing_codecs() -> Iterator[str]:
    """Yield a line for every package of checksums and compression that cannot be imported."""
    for name in CODECS:
        try:
            importlib.import_module(name)
        except ImportError as error:
            package = name.partition(".")[0]
            yield f"package {package} cannot be imported ({error}); install runstep with its dependencies"


def _group_times(settings: Settings) -> Iterator[str]:
    kafka = settings.kafka
    if kafka.heartbeat_interval > kafka.session_timeout / 3:
        yield (
            f"kafka.heartbeat_interval ({kafka.heartbeat_interval:g}) must be at most a third of "
            f"kafka.session_timeout ({kafka.session_timeout:g}), so that one lost heartbeat ends no membership"
        )
    if kafka.session_timeout > kafka.max_poll_interval:
        yield (
            f"kafka.session_timeout ({kafka.session_timeout:g}) must not be above "
            f"kafka.max_poll_interval ({kafka.max_poll_interval:g})"
        )
    if kafka.request_timeout >= _MAX_IDLE_S:
        yield (
            f"kafka.request_timeout ({kafka.request_timeout:g}) must be below {_MAX_IDLE_S}, "
            "after which idle connections are closed"
        )


def _loop_times(settings: Settings) -> Iterator[str]:
    # Inserts and dead letters are the writer's: the owner polls on while they last.
    kafka = settings.kafka
    if kafka.poll_timeout >= kafka.max_poll_interval:
        yield (
            f"kafka.poll_timeout ({kafka.poll_timeout:g}) must be below "
            f"kafka.max_poll_interval ({kafka.max_poll_interval:g})"
        )
    if settings.kafka.poll_timeout >= settings.http.stalled_after:
        yield (
            f"kafka.poll_timeout ({settings.kafka.poll_timeout:g}) must be below "
            f"http.stalled_after ({settings.http.stalled_after:g}), or an idle daemon looks stalled"
        )
    if settings.retry.first_delay > settings.retry.max_delay:
        yield (
            f"retry.first_delay ({settings.retry.first_delay:g}) must not be above "
            f"retry.max_delay ({settings.retry.max_delay:g})"
        )


def _sizes(settings: Settings) -> Iterator[str]:
    kafka, normalize, dead_letters = settings.kafka, settings.normalize, settings.dead_letter
    if kafka.max_partition_fetch_bytes > kafka.fetch_max_bytes:
        yield (
            f"kafka.max_partition_fetch_bytes ({kafka.max_partition_fetch_bytes}) must not be above "
            f"kafka.fetch_max_bytes ({kafka.fetch_max_bytes})"
        )
    if normalize.max_event_bytes > dead_letters.max_request_size:
        yield (
            f"normalize.max_event_bytes ({normalize.max_event_bytes}) must not be above "
            f"dead_letter.max_request_size ({dead_letters.max_request_size}): "
            "a rejected record must fit into a dead letter"
        )


def _names(settings: Settings) -> Iterator[str]:
    kafka = settings.kafka
    for name, values in (("kafka.topics", kafka.topics), ("kafka.bootstrap_servers", kafka.bootstrap_servers)):
        if not values:
            yield f"{name} is empty; name at least one"
        yield from (f"{name} names {value!r} twice" for value in sorted({v for v in values if values.count(v) > 1}))
    topics = [("kafka.topics", topic) for topic in kafka.topics] + [("dead_letter.topic", settings.dead_letter.topic)]
    for name, topic in topics:
        if topic is not None and not _is_topic(topic):
            yield f"{name}: {topic!r} is no topic name (1 to 249 letters, digits, '.', '_' and '-')"
    if kafka.topics and settings.dead_letter_topic in kafka.topics:
        yield (
            f"dead_letter.topic ({settings.dead_letter_topic}) must not be one of kafka.topics: "
            "dead letters would be read as events, without end"
        )
    if not kafka.group_id:
        yield "kafka.group_id is empty; all processes of one pipeline share a name"
    if kafka.group_instance_id is not None and not _is_topic(kafka.group_instance_id):
        yield "kafka.group_instance_id must be 1 to 249 letters, digits, '.', '_' and '-'"


def _addresses(settings: Settings) -> Iterator[str]:
    for server in settings.kafka.bootstrap_servers:
        if not is_address(server, lowest_port=1):
            yield f"kafka.bootstrap_servers: {mask_url(f'//{server}')[2:]!r} is not host:port"
    if not is_address(settings.http.bind, lowest_port=0):
        yield f"http.bind: {settings.http.bind!r} is not host:port, such as 127.0.0.1:9464, or 0.0.0.0:9464 for all"


def _histogram(settings: Settings) -> Iterator[str]:
    buckets = settings.http.buckets
    rising = all(low < high for low, high in itertools.pairwise(buckets))
    if not buckets or not rising or buckets[0] <= 0 or buckets[-1] == float("inf"):
        yield "http.buckets must be one or more finite numbers above 0, each larger than the one before"


def _storage(settings: Settings) -> Iterator[str]:
    store = settings.clickhouse
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", store.database):
        yield f"clickhouse.database: {store.database!r} must be letters, digits and '_', and begin with no digit"
    if store.variant != "single" and not store.hosts and not store.cluster:
        yield f"clickhouse.variant {store.variant} needs clickhouse.hosts or clickhouse.cluster"
    if store.variant == "cluster" and not store.cluster:
        yield "clickhouse.variant cluster needs clickhouse.cluster, the name in the servers' remote_servers"
    if store.insert_quorum != "auto" and not store.insert_quorum.isdecimal():
        yield f"clickhouse.insert_quorum: {store.insert_quorum!r} must be auto or a number of replicas"
    if 0 < store.retention_days < store.details_retention_days:
        yield (
            f"clickhouse.details_retention_days ({store.details_retention_days}) must not be above "
            f"clickhouse.retention_days ({store.retention_days}), which deletes the whole step"
        )


def _files(settings: Settings) -> Iterator[str]:
    for section, values in (("kafka", settings.kafka), ("clickhouse", settings.clickhouse), ("http", settings.http)):
        for name in type(values).model_fields:
            path = getattr(values, name)
            if isinstance(path, Path):
                yield from _unreadable(f"{section}.{name}", path)


def _unreadable(name: str, path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield f"{name}: {path} cannot be read: {error.strerror}"


def _codecs(_: Settings) -> Iterator[str]:
    return missing_codecs()


def is_address(text: str, lowest_port: int) -> bool:
    """Return whether text is host:port, with a host."""
    address = host_port(text)
    return address is not None and bool(address.host) and address.port >= lowest_port


def _is_topic(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) is not None and text not in {".", ".."}


_CHECKS: Final[tuple[Callable[[Settings], Iterator[str]], ...]] = (
    _group_times,
    _loop_times,
    _sizes,
    _names,
    _addresses,
    _histogram,
    _storage,
    kafka_access,
    clickhouse_access,
    http_access,
    _files,
    _codecs,
)
