"""The tables as text: the shipped files of `clickhouse/`, their three layouts, and their statements.

Owns what is in a file and what a layout makes of it; applying it is `pipeline.clickhouse.migrations`. Pure, but for
reading the files that are part of the package.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template
from typing import Final, Literal, TypeAlias

Variant: TypeAlias = Literal["single", "replicated", "cluster"]

_FILE: Final = re.compile(r"(?P<version>\d{4})_(?P<title>[a-z0-9_]+)(?:\.(?P<only>cluster))?\.sql")

_TOKEN: Final = re.compile(
    r"""(?P<quoted> '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` | (?P<tag>\$\w*\$) .*? (?P=tag) )
      | (?P<comment> --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
      | (?P<open> ['"`] | /\* )
      | (?P<end> ; )
      | (?P<space> \s+ )
      | (?P<other> [\w.]+ | . )""",
    re.DOTALL | re.VERBOSE,
)
"""What a statement is made of, as far as finding its end needs it. A doubled quote reads as two neighbours."""

_MAKES: Final = re.compile(r"^CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS \w+\.(\w+)", re.MULTILINE)

_NAME: Final = (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "letters, digits and _")
_CLUSTER: Final = (re.compile(r"[A-Za-z0-9_.{}-]+"), "letters, digits, - _ . and {macros}")
_PATH: Final = (re.compile(r"[A-Za-z0-9_./:{}-]+"), "a path of letters, digits, - _ . and {macros}")

# How many inserts, and how many seconds, a token is remembered. A replicated table forgets after an hour by default; an
# outage, and with it an insert that is tried again, can last for days.
_WINDOW: Final = "non_replicated_deduplication_window = 1000"
_REPLICATED_WINDOW: Final = "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"


@dataclass(frozen=True, slots=True)
class Migration:
    """A shipped file; its text never changes once released, what follows goes into the next number."""

    version: int
    name: str
    only: str | None
    """The one variant it is for, None for all."""
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text as shipped, before any substitution, whatever the line ends of the checkout."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tables lie: on one server, on replicas, or on the shards of a cluster.

    Attributes:
        replica_path: the tables' place in Keeper; may name an auxiliary one (`name:/path`) and the server's macros.
            None where the database names it.
        shard_replicas: whether the shards of a cluster have replicas.

    Raises:
        ValueError: a name that cannot stand in SQL as it is.
    """

    database: str = "runsteps"
    variant: Variant = "single"
    cluster: str = "runstep"
    on_cluster: bool = False
    replica_path: str | None = "/clickhouse/tables/{shard}/{database}/{table}"
    replica_name: str = "{replica}"
    shard_replicas: bool = True

    def __post_init__(self) -> None:
        _check("database", self.database, _NAME)
        _check("cluster", self.cluster, _CLUSTER)
        _check("replica_name", self.replica_name, _CLUSTER)
        if self.replica_path is not None:
            _check("replica_path", self.replica_path, _PATH)
        if self.on_cluster and self.variant == "single":
            raise ValueError("on_cluster needs variant replicated or cluster, but variant is single")

    @property
    def replicated(self) -> bool:
        """Whether the targets are Replicated tables."""
        return self.variant == "replicated" or (self.variant == "cluster" and self.shard_replicas)

    def in_replicated_database(self) -> "Layout":
        """Return the same in a database of the engine Replicated, which names the tables' places in Keeper itself.

        Raises:
            ValueError: tables or statements as that engine refuses them, or would keep them on one replica only.
        """
        where = f"but the database {self.database} has the engine Replicated"
        if not self.replicated:
            raise ValueError(
                f"variant {self.variant} makes tables without replicas, {where}, where each replica would have rows of "
                "its own: set clickhouse.variant to replicated"
            )
        if self.on_cluster:
            raise ValueError(
                f"on_cluster is true, {where}, which sends statements to all replicas itself: "
                "set clickhouse.on_cluster to false"
            )
        return replace(self, replica_path=None)

    def local(self, table: str) -> str:
        """Return the name of the table that holds the rows, on a cluster the shard's own."""
        return f"{table}{self._local}"

    @property
    def clause(self) -> str:
        """The ON CLUSTER clause, or nothing."""
        return f" ON CLUSTER '{self.cluster}'" if self.on_cluster else ""

    @property
    def _local(self) -> str:
        return "_local" if self.variant == "cluster" else ""

    def _engine(self, version: str) -> str:
        if not self.replicated:
            return f"ReplacingMergeTree({version})" if version else "ReplacingMergeTree"
        place = [] if self.replica_path is None else [f"'{self.replica_path}'", f"'{self.replica_name}'"]
        arguments = [*place, *([version] if version else [])]
        return f"ReplicatedReplacingMergeTree({', '.join(arguments)})"

    def _values(self) -> Mapping[str, str]:
        return {
            "database": self.database,
            "cluster": self.cluster,
            "local": self._local,
            "on_cluster": self.clause,
            "replacing": self._engine(""),
            "replacing_by_version": self._engine("version"),
            "deduplication": _REPLICATED_WINDOW if self.replicated else _WINDOW,
        }

    def statements(self, migration: Migration) -> tuple[str, ...]:
        """Return what the migration is in this layout, in order; nothing if it is for another variant."""
        if migration.only not in {None, self.variant}:
            return ()
        return tuple(split(Template(migration.text).substitute(self._values())))

    def makes(self, migration: Migration) -> frozenset[str]:
        """Return the names of the tables and views that the migration makes in this layout."""
        return frozenset(name for sql in self.statements(migration) for name in made_by(sql))


def made_by(sql: str) -> list[str]:
    """Return the names of the tables and views that the statement makes."""
    return _MAKES.findall(sql)


def _check(name: str, value: str, allowed: tuple[re.Pattern[str], str]) -> None:
    pattern, words = allowed
    if not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r}: it can have {words}")


def shipped(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Return the files of the package (or of `folder`), by number.

    Raises:
        ValueError: a name that is no number and title, a number twice, or a number left out.
    """
    folder = folder or resources.files("schemas") / "clickhouse"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = [_migration(name, (folder / name).read_text(encoding="utf-8")) for name in names]
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            fault = "twice" if migration.version < expected else f"but {expected:04d} is missing"
            raise ValueError(f"{migration.name}.sql: number {migration.version:04d} is there {fault}")
    return tuple(migrations)


def _migration(file: str, text: str) -> Migration:
    found = _FILE.fullmatch(file)
    if not found:
        raise ValueError(f"{file}: expected NNNN_title.sql or NNNN_title.cluster.sql")
    return Migration(int(found["version"]), f"{found['version']}_{found['title']}", found["only"], text)


def split(text: str) -> Iterator[str]:
    """Cut SQL into statements at the semicolons that end one, not at those in strings and comments.

    Comments stay with the statement that follows them; comments alone are no statement.

    Raises:
        ValueError: a string or comment that does not end.
    """
    start, empty = 0, True
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "open":
            line = text.count("\n", 0, token.start()) + 1
            raise ValueError(f"line {line}: {token[0]} is opened and never closed")
        if token.lastgroup == "end":
            if not empty:
                yield text[start : token.start()].strip()
            start, empty = token.end(), True
        elif token.lastgroup not in {"comment", "space"}:
            empty = False
    if not empty:
        yield text[start:].strip()
