"""`runstep migrate`: creates the tables, and on request the topics; shows what there is and what it would do."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.clickhouse import migrations
from pipeline.clickhouse.connection import address
from pipeline.clickhouse.migrations import Client, check_schema, connected, each_host
from pipeline.commands import _exit_codes
from pipeline.commands._settings import settings_from_context
from pipeline.config import ClickHouseSettings
from pipeline.errors import ServiceUnavailable
from pipeline.kafka.topics import BROKER_DEFAULT, create_topics, topics

MIGRATE: Final = "run `runstep migrate`"
"""The fix of a finding that this command would have removed."""

Json: TypeAlias = dict[str, Any]
"""What `--json` prints; the text is made from it."""


class Host(NamedTuple):
    """A server to migrate: where it is, the settings that lead there, and a connection."""

    address: str
    settings: ClickHouseSettings
    client: Client


def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL that would be run, and run nothing.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show which migrations were applied, and when.")] = False,
    with_topics: Annotated[
        bool,
        typer.Option("--topics", help="Also create the Kafka topics that are missing, the dead-letter topic included."),
    ] = False,
    partitions: Annotated[
        int, typer.Option(help="Partitions of each new topic but the dead-letter topic; -1 leaves it to the broker.")
    ] = BROKER_DEFAULT,
    replication_factor: Annotated[
        int, typer.Option(help="Replicas of each new topic's partitions; -1 leaves it to the broker.")
    ] = BROKER_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Create the ClickHouse tables, or update them to this version; do nothing where nothing is missing.

    It applies the SQL files that come with runstep, in order, to `clickhouse.url` or to each of `clickhouse.hosts`, and
    sets the retention. It may be run again at any time, also after it was interrupted. The user of the url needs the
    rights of runstep_migrator in deploy/clickhouse/users.xml, and must not be dropped afterwards.

    Exit codes: 0 done, 1 the tables are not as shipped (each finding names its fix), 69 a service is away,
    78 a setting is wrong or something is not allowed.
    """
    if dry_run and status:
        raise typer.BadParameter("--dry-run and --status exclude each other")
    if not all(number == BROKER_DEFAULT or number > 0 for number in (partitions, replication_factor)):
        raise typer.BadParameter("--partitions and --replication-factor are at least 1, or -1 for the broker's default")
    # kafka-python logs an outage in dozens of lines; this command names it in one.
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    ask = _status if status else _plan if dry_run else _apply
    with ExitStack() as stack:
        # Connect to all before the first is changed: one that is away ends the command while nothing has happened yet.
        hosts = [Host(address(one), one, stack.enter_context(connected(one))) for one in each_host(settings.clickhouse)]
        answer: Json = {"hosts": ask(hosts)}
    if with_topics:
        found = topics(settings) if status or dry_run else create_topics(settings, partitions, replication_factor)
        answer["topics"] = [topic._asdict() for topic in found]
    if as_json:
        typer.echo(json.dumps(answer, indent=2, default=str))
    else:
        _show(answer)
    if any(map(_is_bad_news, answer["hosts"])):
        raise typer.Exit(_exit_codes.FINDINGS)


def _is_bad_news(host: Mapping[str, Any]) -> bool:
    states = {one["state"] for one in host.get("migrations", ())}
    return bool(host.get("findings")) or not states <= {"applied", "pending"}


def _status(hosts: Sequence[Host]) -> list[Json]:
    return [
        {"host": host.address, "migrations": [asdict(one) for one in migrations.status(host.client, host.settings)]}
        for host in hosts
    ]


def _plan(hosts: Sequence[Host]) -> list[Json]:
    return [
        {"host": host.address, "statements": [one._asdict() for one in migrations.plan(host.client, host.settings)]}
        for host in hosts
    ]


def _apply(hosts: Sequence[Host]) -> list[Json]:
    for host in hosts:
        # What forbids to continue on any of them has to be found before the first is changed.
        migrations.plan(host.client, host.settings)
    return [_applied(host) for host in hosts]


def _applied(host: Host) -> Json:
    database = host.settings.database
    try:
        applied = migrations.migrate(host.client, host.settings)
    except ServiceUnavailable as error:
        # A table that was changed by hand is no outage, and to run this again would not help.
        changed = [finding for finding in check_schema(host.client, database) if MIGRATE not in finding]
        if not changed:
            raise
        return {"host": host.address, "applied": [], "findings": [f"{error}; first repair this:", *changed]}
    findings = check_schema(host.client, database)
    return {"host": host.address, "applied": [one._asdict() for one in applied], "findings": findings}


def _show(answer: Json) -> None:
    console = Console(soft_wrap=True)
    for host in answer["hosts"]:
        if "migrations" in host:
            console.print(_table(host))
        elif "statements" in host:
            _show_sql(host)
        else:
            done = ", ".join(one["source"] for one in host["applied"])
            typer.echo(f"{host['host']}: " + (f"applied {done}" if done else "nothing to do"))
        for finding in host.get("findings", ()):
            typer.echo(f"{host['host']}: {finding}", err=True)
    for topic in answer.get("topics", ()):
        count = f" ({topic['partitions']} partitions)" if topic["partitions"] else ""
        typer.echo(f"topic {topic['name']}: {topic['state']}{count}")


def _table(host: Mapping[str, Any]) -> Table:
    table = Table("migration", "state", "applied at (UTC)", "by runstep", title=escape(host["host"]))
    for one in host["migrations"]:
        when = f"{one['applied_at']:%F %T}" if one["applied_at"] else ""
        table.add_row(one["name"], one["state"], when, one["runstep_version"] or "")
    return table


def _show_sql(host: Mapping[str, Any]) -> None:
    """Print what could be given to clickhouse-client as it is."""
    typer.echo(f"-- {host['host']}" + ("" if host["statements"] else ": nothing to do"))
    for one in host["statements"]:
        typer.echo(f"\n-- {one['source']}\n{one['sql']};")
