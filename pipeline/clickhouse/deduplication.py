"""Checks what exactly-once inserts rely on: tables that recognize a repeated insert, settings that reach the server.

Reads only, with the few rights that the daemon has. Reports what is so; the sink and `checks` decide what to do.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

TARGETS: Final = ("run_steps", "run_step_ledger")
"""Where the rows of an insert end up; on a cluster the shard's own, `_local`, have them."""

_WANTED: Final = 1000
_MARK: Final = "runstep-is-asking"
_TRANSPORT: Final = frozenset({"send_progress_in_http_headers"})
"""The driver sets this one by itself in a query."""

_ENGINES: Final = """
SELECT name, engine, engine_full FROM system.tables
WHERE database = {database:String} AND name IN {names:Array(String)} ORDER BY name
"""
_SERVER_DEFAULT: Final = "SELECT value FROM system.merge_tree_settings WHERE name = {name:String}"
_IN_FORCE: Final = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"


class Window(NamedTuple):
    """How many inserts a table remembers by their tokens.

    Attributes:
        table: its name, without the database.
        setting: the name of the limit for its engine.
        inserts: 0 stores a repeated insert twice.
    """

    table: str
    setting: str
    inserts: int

    def fault(self, database: str) -> str:
        """Return what is wrong with it."""
        return f"{database}.{self.table} does not recognize an insert that is sent twice ({self.setting} = 0)"

    def fix(self, database: str) -> str:
        """Return the statement that fixes it."""
        return f"ALTER TABLE {database}.{self.table} MODIFY SETTING {self.setting} = {_WANTED}"


class Targets(NamedTuple):
    """What this user is shown of the tables behind an insert.

    Attributes:
        windows: of each table that it may see.
        hidden: what it may not see; empty where it sees nothing at all, since then there may be nothing.
    """

    windows: list[Window]
    hidden: list[str]

    def doubt(self, database: str) -> str | None:
        """Return what is unknown for want of a grant, with the fix."""
        if not self.hidden:
            return None
        names = " and ".join(f"{database}.{name}" for name in self.hidden)
        return (
            f"unknown whether {names} recognizes an insert that is sent twice; "
            f"GRANT SHOW TABLES, SHOW COLUMNS ON {database}.* TO this user"
        )


def targets(client: Client, database: str) -> Targets:
    """Return what is to be seen of the target tables.

    Raises:
        Error: the driver's; the server did not answer.
    """
    names = [name for target in TARGETS for name in (target, f"{target}_local")]
    rows = client.query(_ENGINES, {"database": database, "names": names}).result_rows
    windows = [_window(client, *row) for row in rows if "MergeTree" in row[1]]
    seen = {window.table.removesuffix("_local") for window in windows}
    return Targets(windows, [target for target in TARGETS if rows and target not in seen])


def window_in(engine: str, engine_full: str) -> tuple[str, int | None]:
    """Return the name of a table's window, and its size where the table says it."""
    # Shared is what ClickHouse Cloud makes of every engine.
    replicated = engine.startswith(("Replicated", "Shared"))
    setting = f"{'' if replicated else 'non_'}replicated_deduplication_window"
    found = re.search(rf"\b{setting} = (\d+)", engine_full)
    return setting, int(found[1]) if found else None


def _window(client: Client, name: str, engine: str, engine_full: str) -> Window:
    setting, inserts = window_in(engine, engine_full)
    return Window(name, setting, _by_default(client, setting) if inserts is None else inserts)


def _by_default(client: Client, setting: str) -> int:
    """Return what holds for a table without a limit of its own: the server's configuration, or its built-in default."""
    try:
        rows = client.query(_SERVER_DEFAULT, {"name": setting}).result_rows
    except Error as error:
        if error.code is None:
            raise
        rows = []
    # Without a setting a plain table forgets every token, and a replicated one remembers.
    return int(rows[0][0]) if rows else int(not setting.startswith("non_"))


def fixed(client: Client, pinned: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings that the user's profile holds at another value than an insert needs, with both."""
    for name, wanted in pinned.items():
        known = client.server_settings.get(name)
        if known is not None and known.readonly and known.value != str(wanted):
            yield f"{name} (it is {known.value}, and has to be {wanted})"


def lost(client: Client, pinned: Mapping[str, Any]) -> Iterator[str]:
    """Yield the insert settings that do not reach the server, because a proxy in between drops them.

    Raises:
        Error: the driver's; the server rejects a setting, and names it.
    """
    asked = {**pinned, "insert_deduplication_token": _MARK}
    compared = [name for name in asked if name not in _TRANSPORT]
    answer = client.query(_IN_FORCE, {"names": compared}, settings=asked)
    in_force = {str(name): value for name, value in answer.result_rows}
    for name in compared:
        if name in in_force and in_force[name] != str(asked[name]):
            yield name


class Verdict(NamedTuple):
    """Whether a server stores a repeated insert once.

    Attributes:
        faults: why it would store a repeated insert twice although it answers OK, each with its fix.
        doubt: what is unknown, with its fix.
    """

    faults: list[str]
    doubt: str | None


def judge(client: Client, database: str, pinned: Mapping[str, Any]) -> Verdict:
    """Check everything that can make a repeated insert be stored twice, with two queries.

    Raises:
        Error: the driver's; the server rejects one of the insert settings, and names it.
    """
    found = []
    kept = ", ".join(lost(client, pinned))
    if kept:
        found.append(f"insert settings do not reach the server ({kept}); let the proxy in between pass them on")
    seen = targets(client, database)
    found += [f"{window.fault(database)}; {window.fix(database)}" for window in seen.windows if window.inserts == 0]
    return Verdict(found, seen.doubt(database))
