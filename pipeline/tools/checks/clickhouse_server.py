"""The state of a ClickHouse server that inserts depend on: disks, parts, merges, replicas, memory, clock.

Reads system tables only. Few users may read all of them: what is hidden is named, with the grant it takes.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.error_classes import sink_error
from pipeline.tools.checks.finding import Finding, bad, fine, guarded, warning

_NO_GRANT: Final = 497
_NO_TABLE: Final = 60
_MAX_CLOCK_SKEW_S: Final = 5.0
"""Seconds that two clocks may differ."""
_MIN_FREE_SHARE_BAD: Final = 0.02
_MIN_FREE_SHARE: Final = 0.1
_MAX_MEMORY_SHARE: Final = 0.9
_MAX_MUTATION_AGE_S: Final = 3_600
_MAX_REPLICA_DELAY_S: Final = 300

_DISKS: Final = "SELECT name, unreserved_space, total_space FROM system.disks WHERE total_space > 0 AND NOT is_remote"
_PARTS: Final = """
SELECT table, max(parts) FROM (
    SELECT table, partition_id, count() AS parts FROM system.parts
    WHERE database = {database:String} AND active GROUP BY table, partition_id
) GROUP BY table ORDER BY table
"""
_LIMITS: Final = """
SELECT name, toUInt64(value) FROM system.merge_tree_settings
WHERE name IN ('parts_to_delay_insert', 'parts_to_throw_insert')
"""
_ENGINES: Final = "SELECT name, engine_full FROM system.tables WHERE database = {database:String}"
_MUTATIONS: Final = """
SELECT table, mutation_id, toUInt32(now()) - toUInt32(create_time), latest_fail_reason FROM system.mutations
WHERE database = {database:String} AND NOT is_done ORDER BY create_time
"""
_REPLICAS: Final = """
SELECT table, is_readonly, is_session_expired, absolute_delay, zookeeper_exception FROM system.replicas
WHERE database = {database:String} ORDER BY table
"""
_TRACKED: Final = "SELECT value FROM system.metrics WHERE metric = 'MemoryTracking'"
_ALLOWED: Final = "SELECT toUInt64(value) FROM system.server_settings WHERE name = 'max_server_memory_usage'"


def server_findings(client: Any, database: str) -> Iterator[Finding]:
    """Yield the state of the server.

    Raises:
        Error: the driver's; the server does not answer.
    """
    looks: tuple[tuple[str, str, Callable[[Any, str], Iterator[Finding]]], ...] = (
        ("disk", "disks", _disks),
        ("parts", "parts", _parts),
        ("replicas", "replicas", _replicas),
        ("mutations", "mutations", _mutations),
        ("memory", "metrics", _memory),
    )
    yield from guarded("clock", _clock(client), (Error,))
    for subject, table, look in looks:
        yield from granted(subject, table, look(client, database))


def granted(subject: str, table: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings that need a system table; if it may not be read, say so, and if there is none, say nothing.

    Raises:
        Error: the driver's; the server does not answer.
    """
    try:
        yield from guarded(subject, findings, (Error,))
    except Error as error:
        if error.code == _NO_GRANT:
            # The server names the table, which need not be the first of several.
            found = re.search(r"ON (system\.\w+)", str(error))
            name = found[1] if found else f"system.{table}"
            yield warning(subject, f"unknown: no grant on {name}", f"GRANT SELECT ON {name} TO this user")
        elif error.code is None:
            raise
        elif error.code != _NO_TABLE:
            yield warning(subject, f"unknown: {sink_error(error, 'ClickHouse')}", "look at the server's log")


def rows(client: Any, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    found: list[tuple[Any, ...]] = client.query(query, parameters).result_rows
    return found


def _clock(client: Any) -> Iterator[Finding]:
    before = time.time()
    ((theirs,),) = rows(client, "SELECT toUnixTimestamp64Milli(now64(3)) / 1000")
    after = time.time()
    off = max(before - theirs, theirs - after, 0.0)
    if off > _MAX_CLOCK_SKEW_S:
        direction = "behind" if theirs < before else "ahead of"
        yield warning(
            "clock", f"the server's is {off:.0f} s {direction} this host's", "let both hosts keep time by NTP"
        )
    else:
        yield fine("clock", "the server's and this host's agree")


def _disks(client: Any, _: str) -> Iterator[Finding]:
    for name, free, total in rows(client, _DISKS):
        text = f"{free / 1e9:,.1f} of {total / 1e9:,.1f} GB free"
        fix = "make room: inserts fail when it is full, and wait"
        if free < total * _MIN_FREE_SHARE_BAD:
            yield bad(f"disk {name}", text, fix)
        elif free < total * _MIN_FREE_SHARE:
            yield warning(f"disk {name}", text, fix)
        else:
            yield fine(f"disk {name}", text)


def _parts(client: Any, database: str) -> Iterator[Finding]:
    parts = rows(client, _PARTS, database=database)
    limits: dict[str, int] = dict(rows(client, _LIMITS))
    engines: dict[str, str] = dict(rows(client, _ENGINES, database=database))
    for table, most in parts:
        delay, reject = (
            _limit(engines.get(table, ""), f"parts_to_{what}_insert", limits) for what in ("delay", "throw")
        )
        subject, text = f"parts {database}.{table}", f"{most:,} in its fullest partition; slow from {delay:,} on"
        fix = "larger batches (batch.max_age, fewer members), and find out why merges do not keep up"
        if most >= reject:
            yield bad(subject, f"{most:,} in its fullest partition, inserts are rejected from {reject:,} on", fix)
        elif most >= delay:
            yield warning(subject, f"{text}, rejected from {reject:,}", fix)
        else:
            yield fine(subject, text)


def _limit(engine_full: str, name: str, limits: Mapping[str, int]) -> int:
    found = re.search(rf"\b{name} = (\d+)", engine_full)
    return int(found[1]) if found else limits[name]


def _mutations(client: Any, database: str) -> Iterator[Finding]:
    for table, name, age, failure in rows(client, _MUTATIONS, database=database):
        fix = f"KILL MUTATION WHERE database = '{database}' AND table = '{table}' AND mutation_id = '{name}'"
        if failure:
            yield warning(f"mutation {table}", f"{name} fails since {age:,} s", f"fix its cause, or {fix}")
        elif age > _MAX_MUTATION_AGE_S:
            yield warning(f"mutation {table}", f"{name} is not done after {age:,} s", f"wait for it, or {fix}")


def _replicas(client: Any, database: str) -> Iterator[Finding]:
    for table, is_readonly, expired, delay, cause in rows(client, _REPLICAS, database=database):
        subject = f"replica {database}.{table}"
        if is_readonly or expired:
            detail = f"is read-only, without Keeper: {cause}" if cause else "is read-only, without Keeper"
            yield bad(subject, detail, "look at Keeper; the replica recovers by itself")
        elif delay > _MAX_REPLICA_DELAY_S:
            yield warning(subject, f"is {delay:,} s behind the others", "look at its replication queue")
        else:
            yield fine(subject, "can be written")


def _memory(client: Any, _: str) -> Iterator[Finding]:
    tracked, allowed = rows(client, _TRACKED), rows(client, _ALLOWED)
    if not tracked or not allowed or not allowed[0][0]:
        return
    used, limit = tracked[0][0], allowed[0][0]
    text = f"the server uses {used / 1e9:,.1f} of {limit / 1e9:,.1f} GB"
    if used > limit * _MAX_MEMORY_SHARE:
        yield warning("memory", text, "look at system.processes; inserts are rejected (241) when it is used up")
    else:
        yield fine("memory", text)
