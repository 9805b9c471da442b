"""The book `schema_migrations`: which files a database has had, and what forbids to apply more of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from pipeline import __version__
from pipeline.clickhouse.migrations.session import Client, explaining, tables
from pipeline.errors import ConfigError
from schemas.ddl import Layout, Migration, shipped

BOOK: Final = "schema_migrations"
"""The table's name."""

State: TypeAlias = Literal["applied", "pending", "edited", "unknown"]


@dataclass(frozen=True, slots=True)
class Status:
    """A migration as the package and the database know it; `unknown` ones only the database does."""

    name: str
    state: State
    applied_at: datetime | None = None
    runstep_version: str | None = None


class Entry(NamedTuple):
    """A row of the book."""

    version: int
    name: str
    checksum: str
    variant: str
    runstep_version: str
    applied_at: datetime


def read(client: Client, layout: Layout) -> dict[int, Entry]:
    """Return the book by version; empty where there is none yet."""
    if BOOK not in tables(client, layout.database):
        return {}
    query = f"SELECT {', '.join(Entry._fields)} FROM {layout.database}.{BOOK} FINAL"  # noqa: S608 - a checked name
    with explaining(f"reading {layout.database}.{BOOK}"):
        entries = [Entry(*row) for row in client.query(query).result_rows]
    return {entry.version: entry for entry in entries}


def write(client: Client, layout: Layout, migration: Migration) -> None:
    """Enter a migration. Doing it twice leaves one row."""
    texts = ", ".join(f"'{text}'" for text in (migration.name, migration.checksum, layout.variant, __version__))
    with explaining(f"entering {migration.name} in {layout.database}.{BOOK}"):
        client.command(
            f"INSERT INTO {layout.database}.{BOOK} (version, name, checksum, variant, runstep_version) "  # noqa: S608 - names we checked, a hash
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


def compare(known: Mapping[int, Migration], book: Mapping[int, Entry]) -> list[Status]:
    """Return every migration that the package or the book has, by number."""
    return [_status(known.get(version), book.get(version)) for version in sorted(known.keys() | book.keys())]


def _status(migration: Migration | None, entry: Entry | None) -> Status:
    if migration and entry:
        same = (migration.name, migration.checksum) == (entry.name, entry.checksum)
        return Status(entry.name, "applied" if same else "edited", entry.applied_at, entry.runstep_version)
    if migration:
        return Status(migration.name, "pending")
    assert entry is not None  # noqa: S101 - a version is in one of the two
    return Status(entry.name, "unknown", entry.applied_at, entry.runstep_version)


def refuse_faults(layout: Layout, known: Mapping[int, Migration], book: Mapping[int, Entry]) -> None:
    """Go no further on a database that is not what the package takes it for.

    Raises:
        ConfigError: made in another layout, with other texts, or by a later version.
    """
    for fault in _faults(layout, known, book):
        raise ConfigError(fault)


def _faults(layout: Layout, known: Mapping[int, Migration], book: Mapping[int, Entry]) -> Iterator[str]:
    database = layout.database
    for entry in book.values():
        if entry.variant != layout.variant:
            yield (
                f"clickhouse.variant is {layout.variant}, but {database} was made as {entry.variant}: "
                f"set it to {entry.variant}, or name another clickhouse.database"
            )
    for status in compare(known, book):
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
