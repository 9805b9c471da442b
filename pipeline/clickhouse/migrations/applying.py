"""Brings a database to what this version ships, on one host or on each.

Every statement can be repeated (IF NOT EXISTS, one row for each version in `schema_migrations`), so two migrations at
the same time, or one that broke off, do no harm. ClickHouse has no transactions around DDL: where one migration drops a
view to make it anew, another finds it missing in between, and makes it itself.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from pipeline.clickhouse.migrations import applied, retention
from pipeline.clickhouse.migrations.session import (
    Client,
    Statement,
    database_engine,
    layout_of,
    run_statements,
    tables,
)
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError
from schemas.ddl import Layout, Migration, made_by

_LOOKS: Final = 20
"""How often a missing view is recreated. Each migration at the same time drops it once."""


class Applied(NamedTuple):
    """A file (or `retention`) that was applied, and how many statements that took."""

    source: str
    statements: int


def migrate(
    client: Client, settings: ClickHouseSettings, migrations: Sequence[Migration] | None = None
) -> list[Applied]:
    """Apply to one host what is missing there, also what was dropped; do nothing where nothing is.

    Args:
        client: a connection to the host, best without a database of its own, since that may not exist yet.
        settings: the layout and the retention.
        migrations: other files than the package's.

    Raises:
        ConfigError: a file was edited after it was applied, the settings contradict the tables, or a grant is missing.
        ServiceUnavailable: the server does not answer or failed; the message names the file, and what was applied
            stays applied: run it again.
    """
    layout = _layout(client, settings)
    done: list[Applied] = []
    for migration in _pending(client, layout, migrations):
        statements = _statements(layout, migration)
        run_statements(client, statements)
        # What comes later may change it.
        _make_what_is_missing(client, layout, [migration])
        # After its statements: a file that broke off is not recorded, and is applied again as a whole.
        applied.record(client, layout, migration)
        done.append(Applied(migration.name, len(statements)))
    _make_what_is_missing(client, layout, migrations)
    changes = retention.changes(tables(client, layout.database), layout, settings)
    run_statements(client, changes)
    return [*done, Applied(retention.SOURCE, len(changes))] if changes else done


def plan(
    client: Client, settings: ClickHouseSettings, migrations: Sequence[Migration] | None = None
) -> list[Statement]:
    """Return what `migrate` would run now, in order, and run nothing.

    Raises:
        ConfigError: as `migrate`.
        ServiceUnavailable: as `migrate`.
    """
    layout = _layout(client, settings)
    pending = _pending(client, layout, migrations)
    files = [statement for migration in pending for statement in _statements(layout, migration)]
    return files + retention.changes(tables(client, layout.database), layout, settings)


def status(
    client: Client, settings: ClickHouseSettings, migrations: Sequence[Migration] | None = None
) -> list[applied.MigrationStatus]:
    """Return every migration that this version ships or the database has had, by number.

    Raises:
        ConfigError: as `migrate`, but for edited and unknown files, which are part of the answer; or this user may not
            see what was applied.
        ServiceUnavailable: as `migrate`.
    """
    layout = layout_of(settings)
    applied.require_visible(client, layout)
    return applied.compare(applied.files(layout, migrations), applied.read(client, layout))


def pending(client: Client, settings: ClickHouseSettings) -> list[str]:
    """Return the names of the migrations of this version that the database has not had.

    Raises:
        ConfigError: this user may not see which it has had.
        ServiceUnavailable: as `migrate`.
    """
    return [one.name for one in status(client, settings) if one.state == "pending"]


def each_host(settings: ClickHouseSettings) -> list[ClickHouseSettings]:
    """Return the settings once for each host to migrate: `clickhouse.hosts`, or else the host of the URL.

    A statement works where it is sent, so every replica and every shard needs it, and no system table has their HTTP
    addresses. An entry is a URL, `host` or `host:port`; what it leaves out is as in `clickhouse.url`.

    Raises:
        ConfigError: hosts are given for an embedded database.
    """
    url = urlsplit(settings.url.get_secret_value())
    if not settings.hosts or settings.on_cluster:
        return [settings]
    if url.scheme not in {"http", "https"}:
        raise ConfigError("clickhouse.hosts needs a clickhouse.url that begins with http:// or https://")
    urls = [SecretStr(_beside(url, host)) for host in settings.hosts]
    return [settings.model_copy(update={"url": one, "hosts": ()}) for one in urls]


def _beside(url: SplitResult, host: str) -> str:
    own = urlsplit(host if "://" in host else f"{url.scheme}://{host}")
    place = own.netloc.rpartition("@")[2]
    if not own.port and url.port and "://" not in host:
        place = f"{place}:{url.port}"
    user, at, _ = (own if "@" in own.netloc else url).netloc.rpartition("@")
    return own._replace(netloc=f"{user}{at}{place}").geturl()


def _layout(client: Client, settings: ClickHouseSettings) -> Layout:
    """Return the layout of these settings in the database that is there.

    Tables that stand in a database of the engine Replicated already stay as they were made.

    Raises:
        ConfigError: the settings contradict each other, or the engine of the database.
        ServiceUnavailable: the server does not answer.
    """
    layout = layout_of(settings)
    if database_engine(client, layout.database) != "Replicated":
        return layout
    if not layout.replicated and applied.read(client, layout):
        return layout
    try:
        return layout.in_replicated_database()
    except ValueError as error:
        raise ConfigError(f"clickhouse.{error}") from error


def _pending(client: Client, layout: Layout, migrations: Sequence[Migration] | None) -> list[Migration]:
    known, entries = applied.files(layout, migrations), applied.read(client, layout)
    applied.require_no_faults(layout, known, entries)
    there = tables(client, layout.database).keys()
    gone = (version for version, migration in known.items() if not layout.makes(migration) <= there)
    # What was dropped is recreated, and all after it is applied again: a later file may have changed the table.
    first = min(gone, default=max(known, default=0) + 1)
    return [migration for version, migration in sorted(known.items()) if version not in entries or version >= first]


def _make_what_is_missing(client: Client, layout: Layout, migrations: Sequence[Migration] | None) -> None:
    """Make what a migration at the same time has dropped just now; stop where something cannot be made.

    `IF NOT EXISTS` says OK to what is detached, and makes nothing.

    Raises:
        ConfigError: naming what is detached, with the statement that brings it back.
    """
    # By name, the last file that makes it: nothing is dropped here, so that migrations do not undo each other for ever.
    makers = {
        name: migration
        for _, migration in sorted(applied.files(layout, migrations).items())
        for name in layout.makes(migration)
    }
    missing: list[str] = []
    for _ in range(_LOOKS):
        missing = sorted(makers.keys() - tables(client, layout.database).keys())
        if not missing:
            return
        for name in missing:
            run_statements(client, [one for one in _statements(layout, makers[name]) if name in made_by(one.sql)])
    place = f"{layout.database}.{missing[0]}"
    raise ConfigError(f"{place} is detached, or this user may not see it; run `ATTACH TABLE {place}`")


def _statements(layout: Layout, migration: Migration) -> list[Statement]:
    return [Statement(migration.name, sql) for sql in layout.statements(migration)]
