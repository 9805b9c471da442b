"""Whether ClickHouse keeps the delivery guarantee: windows, insert settings, and the views that feed the two tables.

Reads only. The tables' columns, windows of 0 and definers are checked by `clickhouse_access`.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse import connect, deduplication, insert_proof
from pipeline.clickhouse.connection import address
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.insert_proof import INGEST
from pipeline.clickhouse.insert_settings import insert_settings
from pipeline.clickhouse.migrations import each_host
from pipeline.clickhouse.server_version import ORDERED_VIEWS, is_older
from pipeline.config import ClickHouseSettings
from pipeline.errors import SinkError
from pipeline.tools.checks.clickhouse_server import granted, rows, server_findings
from pipeline.tools.checks.finding import Finding, bad, fine, guarded, warning

_VIEWS: Final = ("run_steps_mv", "run_step_ledger_mv")
"""In the order in which they have to commit."""
_WEEK_S: Final = 604_800

_MADE: Final = """
SELECT name, toUnixTimestamp(metadata_modification_time), toUnixTimestamp(now()) - toInt64(uptime()), create_table_query
FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}
"""
_READERS: Final = """
SELECT dependencies_database, dependencies_table FROM system.tables
WHERE database = {database:String} AND name IN {names:Array(String)}
"""
_SECONDS: Final = """
SELECT name, engine_full FROM system.tables WHERE database = {database:String} AND match(engine, '^(Replicated|Shared)')
"""
_USERS: Final = "SELECT name FROM system.users"


def guarantee_findings(settings: ClickHouseSettings) -> Iterator[Finding]:
    """Yield the findings of each host about the guarantee and about itself; nothing of a host that is away."""
    hosts = each_host(settings)
    for host in hosts:
        for finding in _host(host):
            subject = finding.subject if len(hosts) == 1 else f"{finding.subject} at {address(host)}"
            yield finding._replace(subject=subject)


def _host(settings: ClickHouseSettings) -> Iterator[Finding]:
    try:
        client = connect(settings)
    except SinkError:
        return
    with closing(client):
        try:
            yield from guarded("insert settings", _settings(client, settings), (Error,))
            yield from granted("deduplication", "tables", _windows(client, settings.database))
            yield from granted("order of the views", "tables", _order(client, settings.database))
            yield from granted("views", "tables", _copies(client, settings.database))
            yield from granted("views", "tables", _others(client, settings.database))
            yield from granted("definer of the views", "users", _definers(client, settings.database))
            yield from server_findings(client, settings.database)
        except Error as error:
            cause = sink_error(error, address(settings))
            yield bad("clickhouse", f"stopped answering: {cause}", "look at the server, then check again")


def _settings(client: Any, settings: ClickHouseSettings) -> Iterator[Finding]:
    subject, fix = "insert settings", "lift the constraint in the user's profile"
    pinned = insert_settings(settings, client)
    fixed = ", ".join(deduplication.fixed(client, pinned))
    if fixed:
        yield bad(subject, f"the user's profile fixes {fixed}", fix)
        return
    try:
        kept = ", ".join(deduplication.lost(client, pinned))
    except Error as error:
        if error.code is None:
            raise
        detail, _, known_fix = str(sink_error(error, address(settings))).partition("; ")
        yield bad(subject, detail, known_fix or fix)
        return
    if kept:
        yield bad(subject, f"do not reach the server: {kept}", "let the proxy in between pass settings on")
    else:
        yield fine(subject, f"all {len(pinned)} can be set as the guarantee needs them")


def _windows(client: Any, database: str) -> Iterator[Finding]:
    seen = deduplication.targets(client, database)
    doubt = seen.doubt(database)
    if doubt:
        detail, _, fix = doubt.partition("; ")
        yield warning("deduplication", detail, fix)
    for window in seen.windows:
        if window.inserts:
            yield fine("deduplication", f"{database}.{window.table} remembers {window.inserts:,} inserts")
    for name, engine_full in rows(client, _SECONDS, database=database):
        found = re.search(r"replicated_deduplication_window_seconds = (\d+)", engine_full)
        if f"{name}".removesuffix("_local") in deduplication.TARGETS and int(found[1] if found else 0) < _WEEK_S:
            fix = f"ALTER TABLE {database}.{name} MODIFY SETTING replicated_deduplication_window_seconds = {_WEEK_S}"
            yield warning("deduplication", f"{database}.{name} forgets an insert sooner than in a week", fix)


def _order(client: Any, database: str) -> Iterator[Finding]:
    """Yield whether the view of the steps commits first.

    The server shows it nowhere: it is the order in which the views were created, and after a restart the reverse of
    their names (measured), which is right with the shipped names.
    """
    if is_older(client.server_version, ORDERED_VIEWS):
        detail = f"before {ORDERED_VIEWS} the server has none; a repeated insert repairs what a fault leaves"
        yield fine("order of the views", detail)
        return
    made = {
        name: (when, started) for name, when, started, _ in rows(client, _MADE, database=database, names=list(_VIEWS))
    }
    if len(made) < len(_VIEWS):
        return
    (steps, _), (ledger, started) = (made[name] for name in _VIEWS)
    if ledger < steps and steps >= started:
        detail = "the ledger's view commits before the steps' one, which is younger: a fault leaves an account of steps"
        fix = "restart ClickHouse, it takes them by name then; until then a repeated insert repairs it"
        yield warning("order of the views", f"{detail} that are not there yet", fix)
    else:
        yield fine("order of the views", "the steps commit before the ledger")


def _copies(client: Any, database: str) -> Iterator[Finding]:
    """Yield why rows of an insert would be lost; the daemon sees the views of the one host that it is connected to."""
    for fault in insert_proof.look(client, database).faults:
        detail, _, fix = fault.partition("; ")
        yield bad("views", detail, fix)


def _others(client: Any, database: str) -> Iterator[Finding]:
    names = (INGEST, f"{INGEST}_local")
    for databases, tables in rows(client, _READERS, database=database, names=list(names)):
        for place in (f"{base}.{name}" for base, name in zip(databases, tables, strict=True)):
            if place not in {f"{database}.{view}" for view in _VIEWS}:
                detail = f"{place} is fed by {INGEST} too: where it fails, every insert fails"
                yield warning("views", detail, "let it read run_step_ledger or run_steps instead, or keep it simple")


def _definers(client: Any, database: str) -> Iterator[Finding]:
    users = {name for (name,) in rows(client, _USERS)}
    views = rows(client, _MADE, database=database, names=list(_VIEWS))
    found = {definer[1] for *_, made_by in views if (definer := re.search(r" DEFINER = `?([^\s`]+)", made_by))}
    # A user who is gone is named with the tables.
    if found and found <= users:
        yield fine("definer of the views", f"{', '.join(sorted(found))}, who must never be dropped")
