"""Proof that an insert did what its OK says: what the answer counts, and the views that copy its rows.

`run_step_ingest` keeps nothing: without its views an insert is an OK, and the rows are gone. Two things show that rows
were copied. The answer counts what the views wrote, but on a cluster it leaves out the other shards, and an embedded
server counts no views. And a view that has the same id before and after an insert was there meanwhile. Reads only, with
the few rights that the daemon has.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from pipeline.clickhouse.error_classes import safe_line
from pipeline.contracts import Columns
from pipeline.errors import ErrorClass
from pipeline.records import Outcome
from schemas.row import INDEX

INGEST: Final = "run_step_ingest"
VIEWS: Final[Mapping[str, str]] = {"run_steps_mv": "run_steps", "run_step_ledger_mv": "run_step_ledger"}
"""Each view that copies rows from there, and the table that it writes."""

_OUTCOME: Final = INDEX["outcome"]
_IS_SUPERSEDED: Final = INDEX["is_superseded"]

_KEEPS: Final = re.compile("MergeTree|Distributed")
"""Engines of tables that keep what a view writes; any other was put in the place of a shipped one."""

_TARGET: Final = re.compile(r"^CREATE MATERIALIZED VIEW \S+ (?:UUID '[^']*' )?TO (?P<target>\S+)")

_SCHEMA: Final = """
SELECT
    name, hostName(), engine, toString(uuid), create_table_query, arrayZip(dependencies_database, dependencies_table)
FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}
"""


class Answer(NamedTuple):
    """What came back for an insert.

    Attributes:
        summary: of `X-ClickHouse-Summary`; embedded, the engine's own.
        body: empty, where ClickHouse stored rows.
    """

    summary: Mapping[str, Any]
    body: bytes = b""

    def doubt(self, rows: int) -> str | None:
        """Return what speaks against it as the answer to an insert of so many rows; None if nothing does."""
        if self.written is None:
            return "answered an insert, but not as ClickHouse does (no X-ClickHouse-Summary): is a proxy in between?"
        if self.body:
            text = self.body.decode(errors="replace")
            said = f": {safe_line(text, ErrorClass.AMBIGUOUS)}" if "DB::Exception" in text else ""
            return f"answered an insert with success and {len(self.body):,} bytes of text{said}"
        if self.written < rows:
            return f"answered that it wrote {self.written:,} rows of an insert of {rows:,}"
        return None

    @property
    def written(self) -> int | None:
        """Rows written, copies included; None where that is not said."""
        text = str(self.summary.get("written_rows", ""))
        return int(text) if text.isascii() and text.isdigit() else None

    def counts_copies(self, columns: Columns) -> bool:
        """Return whether all was written: the rows, an account of each, and those that pass into `run_steps`."""
        steps = columns[_OUTCOME].count(Outcome.STORED.value) - columns[_IS_SUPERSEDED].count(True)
        return self.written is not None and self.written >= 2 * len(columns[0]) + steps


class Answers:
    """What the driver does not show of an insert: the answer's body, and that it was sent again.

    Attributes:
        body: of the last answer that was read at once, as that of an insert is.
        requests: made since it was set to 0.
    """

    def __init__(self, client: Client) -> None:
        self.body, self.requests = b"", 0
        # An embedded server answers without one.
        pool = getattr(client, "http", None)
        if pool is not None:
            pool.request = self._keeping(pool.request)

    def _keeping(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def keep(*given: Any, **named: Any) -> Any:
            self.requests += 1
            answer = request(*given, **named)
            if named.get("preload_content", True):
                self.body = answer.data
            return answer

        return keep


class Views(NamedTuple):
    """What copies the rows of an insert, as far as this user is shown it.

    Attributes:
        faults: why rows would be lost, each with its fix.
        host: the server that was asked; behind a balancer it can be another one each time.
        ids: of the views; empty where none are shown.
        counted: whether written rows are theirs alone; a view of somebody else writes rows too, and on a cluster the
            answer has those of one shard.
    """

    faults: tuple[str, ...]
    host: str
    ids: frozenset[tuple[str, str]]
    counted: bool

    def must_be_counted(self) -> bool:
        """Return whether nothing but the answer can tell that rows were copied."""
        return self.counted and not self.ids

    def were_replaced_by(self, later: "Views") -> bool:
        """Return whether the same server had other views later, so that for a moment it may have had none."""
        return self.host == later.host and self.ids != later.ids


class _Shown(NamedTuple):
    """A row of system.tables."""

    host: str
    engine: str
    uuid: str
    made_by: str
    readers: list[tuple[str, str]]
    """Views that are fed by it, each with its database. Also those that this user may not see otherwise."""


def look(client: Client, database: str) -> Views:
    """Return the views behind an insert, and what is wrong with them.

    On a cluster those of the shard that is connected; the others cannot be seen with the daemon's rights.

    Raises:
        Error: the driver's; the server did not answer.
    """
    names = [INGEST, *VIEWS, *VIEWS.values()]
    asked = {"database": database, "names": names + [f"{name}_local" for name in names]}
    shown = {name: _Shown(*row) for name, *row in client.query(_SCHEMA, asked).result_rows}
    is_cluster = INGEST in shown and shown[INGEST].engine == "Distributed"
    local = "_local" if is_cluster else ""
    source = shown.get(INGEST + local)
    if source is None:
        # This server only hands the rows on, or does not show its tables; a table that is missing an insert reports.
        return Views((), "", frozenset(), counted=not is_cluster)
    readers = {tuple(reader) for reader in source.readers}
    faults = [
        fault for view, table in VIEWS.items() for fault in _faults(shown, readers, database, view, table + local)
    ]
    ids = frozenset((view, shown[view].uuid if view in shown else "") for view in VIEWS)
    own = {(database, view) for view in VIEWS}
    others = readers - own or any(shown[table].readers for table in VIEWS.values() if table in shown)
    return Views(tuple(faults), source.host, ids, counted=not (is_cluster or others))


def _faults(
    shown: Mapping[str, _Shown], readers: set[tuple[str, ...]], database: str, view: str, table: str
) -> Iterator[str]:
    """Yield why a view does not copy rows into its table."""
    place, made = f"{database}.{view}", shown.get(view)
    anew = f"run `DROP VIEW {place} SYNC`, then `runstep migrate`"
    if (database, view) not in readers:
        if made is None:
            yield f"view {place} is missing, so its rows would be lost; run `runstep migrate`"
        else:
            yield f"view {place} does not read {database}.{INGEST}, so its rows would be lost; {anew}"
        return
    found = _TARGET.match(made.made_by) if made is not None else None
    if made is not None and made.made_by and (not found or found["target"].replace("`", "") != f"{database}.{table}"):
        yield f"view {place} does not write to {database}.{table}; {anew}"
    if table in shown and not _KEEPS.search(shown[table].engine):
        aside = f"run `RENAME TABLE {database}.{table} TO {database}.{table}_aside`, then `runstep migrate`"
        yield f"table {database}.{table} has the engine {shown[table].engine}, which does not keep rows; {aside}"
