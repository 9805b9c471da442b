"""The table `schema_migrations`: which files were applied to a database, and what forbids to apply more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from pipeline import __version__
from pipeline.clickhouse.migrations.session import Client, explaining, is_hidden, tables
from pipeline.errors import ConfigError
from schemas.ddl import Layout, Migration, shipped

TABLE: Final = "schema_migrations"
"""The name of the table of applied migrations."""

State: TypeAlias = Literal["applied", "pending", "edited", "unknown"]


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration as the package and the database know it; an `unknown` one is only in the database."""

    name: str
    state: State
    applied_at: datetime | None = None
    runstep_version: str | None = None


class Entry(NamedTuple):
    """A row of the table."""

    version: int
    name: str
    checksum: str
    variant: str
    runstep_version: str
    applied_at: datetime


def read(client: Client, layout: Layout) -> dict[int, Entry]:
    """Return the applied migrations by version; none where there is no table yet, or where it is hidden."""
    if TABLE not in tables(client, layout.database):
        return {}
    query = f"SELECT {', '.join(Entry._fields)} FROM {layout.database}.{TABLE} FINAL"  # noqa: S608 - a checked name
    with explaining(f"reading {layout.database}.{TABLE}"):
        entries = [Entry(*row) for row in client.query(query).result_rows]
    return {entry.version: entry for entry in entries}


def require_visible(client: Client, layout: Layout) -> None:
    """Stop where this user may not see whether there is a table: then nothing is known of what was applied.

    Raises:
        ConfigError: naming the grant.
        ServiceUnavailable: the server does not answer.
    """
    place = f"{layout.database}.{TABLE}"
    if is_hidden(client, f"EXISTS TABLE {place}"):
        raise ConfigError(f"this ClickHouse user may not see {place}: GRANT SELECT ON {place} TO this user")


def record(client: Client, layout: Layout, migration: Migration) -> None:
    """Record a migration as applied. Doing it twice leaves one row."""
    texts = ", ".join(f"'{text}'" for text in (migration.name, migration.checksum, layout.variant, __version__))
    with explaining(f"entering {migration.name} in {layout.database}.{TABLE}"):
        client.command(
            f"INSERT INTO {layout.database}.{TABLE} (version, name, checksum, variant, runstep_version) "  # noqa: S608 - checked names, a hash
            f"VALUES ({migration.version}, {texts})",
            use_database=False,
        )


def files(layout: Layout, migrations: Sequence[Migration] | None = None) -> dict[int, Migration]:
    """Return the files of this layout by version.

    Raises:
        ConfigError: the installed package is damaged.
    """
    try:
        known = shipped() if migrations is None else migrations
    except ValueError as error:
        raise ConfigError(
            f"{error}: the installed files are not those of runstep {__version__}, reinstall it"
        ) from error
    return {migration.version: migration for migration in known if migration.only in {None, layout.variant}}


def compare(known: Mapping[int, Migration], applied: Mapping[int, Entry]) -> list[MigrationStatus]:
    """Return every migration that the package ships or the database has, by number."""
    return [_status(known.get(version), applied.get(version)) for version in sorted(known.keys() | applied.keys())]


def _status(migration: Migration | None, entry: Entry | None) -> MigrationStatus:
    if migration and entry:
        same = (migration.name, migration.checksum) == (entry.name, entry.checksum)
        return MigrationStatus(entry.name, "applied" if same else "edited", entry.applied_at, entry.runstep_version)
    if migration:
        return MigrationStatus(migration.name, "pending")
    assert entry is not None  # noqa: S101 - a version is in one of the two
    return MigrationStatus(entry.name, "unknown", entry.applied_at, entry.runstep_version)


def require_no_faults(layout: Layout, known: Mapping[int, Migration], applied: Mapping[int, Entry]) -> None:
    """Stop at a database that was not made by these files.

    Raises:
        ConfigError: made in another layout, with other texts, or by a later version.
    """
    for fault in _faults(layout, known, applied):
        raise ConfigError(fault)


def _faults(layout: Layout, known: Mapping[int, Migration], applied: Mapping[int, Entry]) -> Iterator[str]:
    database = layout.database
    for entry in applied.values():
        if entry.variant != layout.variant:
            yield (
                f"clickhouse.variant is {layout.variant}, but {database} was made as {entry.variant}: "
                f"set it to {entry.variant}, or name another clickhouse.database"
            )
    for status in compare(known, applied):
        if status.state == "edited":
            yield (
                f"{status.name}.sql is not the text that runstep {status.runstep_version} applied to {database} at "
                f"{status.applied_at:%F %T}: shipped files never change. Reinstall runstep; a change of your own "
                "belongs into a table or view of your own"
            )
        if status.state == "unknown":
            yield (
                f"{database} has had {status.name} from runstep {status.runstep_version}, which {__version__} does "
                "not have: use that version or a later one"
            )
