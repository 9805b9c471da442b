"""Finds what in a database is not as shipped: changed by hand, by another tool, by half a migration.

The insert does not notice most of it: a column dropped from a view's target is an OK with the values gone, a window of
0 an OK that stores a retry twice.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.deduplication import window_in
from pipeline.clickhouse.migrations.session import Client, TableSchema, explaining, is_hidden, tables
from schemas.row import INGEST_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS

_TYPES: Final = {column.name: column.type for column in INGEST_COLUMNS}
_EXPECTED: Final = {
    "run_step_ingest": tuple(_TYPES),
    "run_steps": STEP_COLUMNS,
    "run_step_ledger": LEDGER_COLUMNS,
    "run_steps_mv": STEP_COLUMNS,
    "run_step_ledger_mv": LEDGER_COLUMNS,
    "run_steps_current": STEP_COLUMNS,
    # runstep reads none of their own columns: it is enough that they exist.
    "runs_between": (),
    "runs": (),
    "tool_calls": (),
}
"""What each object has to have; more columns do no harm."""

_DISTRIBUTED: Final = ("run_step_ingest", "run_steps", "run_step_ledger")
_TARGETS: Final = ("run_steps", "run_step_ledger")
_VIEWS: Final = ("run_steps_mv", "run_step_ledger_mv", "run_steps_current", "runs_between", "runs", "tool_calls")


def check_schema(client: Client, database: str) -> list[str]:
    """Return what is wrong with the tables of this host, each with its fix; nothing if they are as shipped.

    A user sees only what was granted to it: what is hidden is no finding here, see `hidden`. With the writer's grants
    of `deploy/clickhouse/users.xml`, whether the definers still exist stays unknown.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    made = tables(client, database)
    columns = _columns(client, database)
    users = _users(client)
    findings: list[str] = []
    for name in sorted(_names(made)):
        place = f"{database}.{name}"
        if name not in made:
            findings += [] if is_hidden(client, f"EXISTS TABLE {place}") else [_missing(place)]
            continue
        base = name.removesuffix("_local")
        wrong = list(_column_findings(place, _EXPECTED[base], columns.get(name, {})))
        findings += [] if wrong and is_hidden(client, f"DESCRIBE TABLE {place}") else wrong
        if base in _TARGETS and not _is_distributed(made, name):
            findings += _window_findings(place, made[name])
        if base in _VIEWS:
            findings += _definer_findings(place, made[name], users)
    return findings


def hidden(client: Client, database: str) -> list[str]:
    """Return the tables and views of which this user may not see whether they are there, or which columns they have.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    made = tables(client, database)
    questions = {name: "DESCRIBE" if name in made else "EXISTS" for name in sorted(_names(made))}
    return [name for name, ask in questions.items() if is_hidden(client, f"{ask} TABLE {database}.{name}")]


def _names(made: Mapping[str, TableSchema]) -> set[str]:
    return {*_EXPECTED, *(f"{name}_local" for name in _DISTRIBUTED if _is_distributed(made, name))}


def _is_distributed(made: Mapping[str, TableSchema], name: str) -> bool:
    return name in made and made[name].engine == "Distributed"


def _columns(client: Client, database: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    query = "SELECT table, name, type FROM system.columns WHERE database = {database:String}"
    with explaining(f"reading the columns of {database}"):
        for table, name, type_ in client.query(query, {"database": database}).result_rows:
            found.setdefault(table, {})[name] = type_
    return found


def _users(client: Client) -> frozenset[str] | None:
    """Return the server's users; None where this user may not see them, or the server is embedded."""
    try:
        return frozenset(name for (name,) in client.query("SELECT name FROM system.users").result_rows)
    except Error:
        return None


def _missing(place: str) -> str:
    return f"{place} is missing: run `runstep migrate`"


def _column_findings(place: str, expected: tuple[str, ...], columns: Mapping[str, str]) -> Iterator[str]:
    is_view = place.endswith(_VIEWS)
    for name in expected:
        actual, wanted = columns.get(name), _TYPES[name]
        if actual == wanted:
            continue
        fault = f"{place}.{name} is {actual}, not {wanted}" if actual else f"{place} has no column {name}"
        change = "MODIFY" if actual else "ADD"
        # A view that is dropped while rows come in loses them.
        again = f"stop the daemons, DROP VIEW {place}, run `runstep migrate`"
        yield f"{fault}: {again if is_view else f'ALTER TABLE {place} {change} COLUMN {name} {wanted}'}"


def _window_findings(place: str, table: TableSchema) -> Iterator[str]:
    setting, inserts = window_in(table.engine, table.engine_full)
    # Without a setting a plain table forgets every token, and a replicated one remembers.
    if inserts == 0 or (inserts is None and setting.startswith("non_")):
        yield (
            f"{place} does not recognize an insert that is sent twice: "
            f"ALTER TABLE {place} MODIFY SETTING {setting} = 1000"
        )


def _definer_findings(place: str, view: TableSchema, users: frozenset[str] | None) -> Iterator[str]:
    # Not to be seen without SHOW TABLES: then there is no text to judge.
    found = re.search(r" DEFINER = (\S+) SQL SECURITY DEFINER", view.made_by)
    if view.made_by and not found:
        yield (
            f"{place} acts as the user who queries it, who then needs rights on its tables: "
            f"ALTER TABLE {place} MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER"
        )
    if found and users is not None and found[1].strip("`'") not in users:
        yield (
            f"{place} acts as the user {found[1]}, who is gone, so that every use of it fails: recreate that user, or "
            f"ALTER TABLE {place} MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER"
        )
