"""One ClickHouse server as migrations see it: a client, statements to run, tables to read about, errors in words."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, RunstepError, ServiceUnavailable, SinkError
from schemas.ddl import Layout

_NO_GRANT: Final = 497
_NOT_ALLOWED: Final = frozenset({164, 192, 495, 497, 516})
"""Read-only, unknown user, no grant (twice), wrong credentials."""


class Client(Protocol):
    """What is used of a clickhouse-connect client, over HTTP and embedded alike."""

    def command(self, cmd: str, *, use_database: bool = True) -> Any:
        """Run a statement."""

    def query(self, query: str, parameters: dict[str, Any] | None = None) -> Any:
        """Return an object with `result_rows`."""


class Statement(NamedTuple):
    """A statement that is still to be run, and the file (or setting) it is from."""

    source: str
    sql: str


class TableSchema(NamedTuple):
    """What the server shows of a table or view; empty for one that this user may not see."""

    engine: str
    engine_full: str
    made_by: str
    """The CREATE statement as the server writes it."""


def layout_of(settings: ClickHouseSettings) -> Layout:
    """Return where the tables of these settings lie.

    Raises:
        ConfigError: a name cannot stand in SQL, or two settings contradict each other.
    """
    try:
        return Layout(
            settings.database,
            settings.variant,
            settings.cluster,
            settings.on_cluster,
            settings.replica_path,
            settings.replica_name,
            settings.shard_replicas,
        )
    except ValueError as error:
        raise ConfigError(f"clickhouse.{error}") from error


def database_engine(client: Client, database: str) -> str:
    """Return the engine of the database, '' where there is none.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    with explaining(f"reading the engine of {database}"):
        rows = client.query(
            "SELECT engine FROM system.databases WHERE name = {database:String}", {"database": database}
        ).result_rows
    return str(rows[0][0]) if rows else ""


def tables(client: Client, database: str) -> dict[str, TableSchema]:
    """Return the tables and views of the database by name; a user sees only those granted to it.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    query = "SELECT name, engine, engine_full, create_table_query FROM system.tables WHERE database = {database:String}"
    with explaining(f"reading the tables of {database}"):
        rows = client.query(query, {"database": database}).result_rows
    return {name: TableSchema(*shown) for name, *shown in rows}


def is_hidden(client: Client, question: str) -> bool:
    """Return whether this user may not ask that. Not granted is not absent: the server refuses before it looks.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    with explaining(f"asking {question}"):
        try:
            client.query(question)
        except Error as error:
            if error.code is None:
                raise
            return error.code == _NO_GRANT
    return False


def run_statements(client: Client, statements: Iterable[Statement]) -> None:
    """Run the statements one after the other.

    Raises:
        ConfigError: this user may not.
        ServiceUnavailable: the server failed or is gone; what ran before stays.
    """
    for statement in statements:
        with explaining(f"applying {statement.source} ({_headline(statement.sql)})"):
            # Not in the connection's own database: it may be the one that is about to be made.
            client.command(statement.sql, use_database=False)


def _headline(sql: str) -> str:
    lines = (line for line in sql.splitlines() if line and not line.startswith("--"))
    return next(lines, "").removesuffix("(").strip()


@contextmanager
def connected(settings: ClickHouseSettings) -> Iterator[Client]:
    """Give a connection to the host of the settings, in no database, and close it.

    Raises:
        ConfigError: the credentials or the url are wrong.
        ServiceUnavailable: the server is away.
    """
    try:
        client = connect(settings)
    except SinkError as error:
        raise _to_show(error, f"connecting to {address(settings)}") from None
    try:
        yield client
    finally:
        client.close()


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Turn the driver's exceptions into those a command shows, which name the cause and the fix."""
    try:
        yield
    except Error as error:
        raise _to_show(sink_error(error, "ClickHouse"), doing) from None


def _to_show(error: SinkError, doing: str) -> RunstepError:
    # To run what fails here is no fix for it.
    cause, found, _ = str(error).rpartition("; run `runstep migrate`")
    cause = cause if found else str(error)
    if error.code in _NOT_ALLOWED:
        return ConfigError(f"{doing}: {cause} (the users and their grants are in deploy/clickhouse/users.xml)")
    return ServiceUnavailable(f"{doing}: {cause}")
