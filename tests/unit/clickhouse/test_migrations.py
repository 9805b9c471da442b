"""The shipped files, their layouts and statements, and what settings make of TTLs and hosts; no server needed."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.clickhouse.migrations import each_host, layout_of, plan, retention
from pipeline.clickhouse.migrations.applied import Entry
from pipeline.clickhouse.migrations.session import TableSchema
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError
from schemas.ddl import Layout, Migration, shipped, split

LAYOUTS = (
    Layout(),
    Layout(variant="replicated"),
    Layout(variant="replicated", on_cluster=True, replica_path="keeper2:/runstep/{shard}/{table}"),
    Layout(variant="replicated").in_replicated_database(),
    Layout(variant="cluster"),
    Layout(variant="cluster", on_cluster=True, shard_replicas=False),
)
REPEATABLE = re.compile(
    r"CREATE (DATABASE|TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS "
    r"|DROP VIEW IF EXISTS "
    r"|ALTER .* (DROP COLUMN IF EXISTS|ADD (INDEX|COLUMN) IF NOT EXISTS|MATERIALIZE INDEX|MODIFY (SETTING|QUERY))\s"
)


def code(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql).strip()


def all_statements(layout: Layout) -> list[str]:
    return [sql for migration in shipped() for sql in layout.statements(migration)]


def one_file(text: str, only: str | None = None) -> Migration:
    return Migration(1, "0001_x", only, text)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.variant}-{layout.on_cluster}")
def test_every_shipped_statement_can_be_run_again(layout: Layout) -> None:
    assert [sql for sql in all_statements(layout) if not REPEATABLE.match(code(sql))] == []


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.variant}-{layout.on_cluster}")
def test_no_placeholder_is_left(layout: Layout) -> None:
    assert "${" not in "".join(all_statements(layout))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.variant}-{layout.on_cluster}")
def test_every_layout_makes_the_names_that_users_know(layout: Layout) -> None:
    made = frozenset[str]().union(*(layout.makes(migration) for migration in shipped()))
    assert {"run_step_ingest", "run_steps", "run_step_ledger", "run_steps_current", "runs", "tool_calls"} <= made


def test_the_steps_view_is_made_before_the_ledger_view() -> None:
    text = "".join(all_statements(Layout()))
    assert 0 < text.index("VIEW IF NOT EXISTS runsteps.run_steps_mv") < text.index("runsteps.run_step_ledger_mv")


def test_replicated_tables_lie_where_the_settings_say_and_remember_tokens_for_a_week() -> None:
    text = "".join(all_statements(LAYOUTS[2]))
    assert "ReplicatedReplacingMergeTree('keeper2:/runstep/{shard}/{table}', '{replica}', version)" in text
    assert text.count("replicated_deduplication_window_seconds = 604800") == 2
    assert "run_steps ON CLUSTER 'runstep'" in text


def test_a_cluster_shards_all_three_tables_by_the_step_key() -> None:
    text = "".join(all_statements(LAYOUTS[-1]))
    assert text.count("cityHash64(thread_id, run_id, step_id)") == 3
    assert "ENGINE = ReplacingMergeTree(version)" in text


def test_a_file_for_clusters_is_nothing_elsewhere() -> None:
    assert Layout().statements(one_file("SELECT 1", "cluster")) == ()
    assert Layout(variant="cluster").statements(one_file("SELECT 1", "cluster")) == ("SELECT 1",)


@pytest.mark.parametrize(
    "settings",
    [
        {"database": "a; DROP TABLE b"},
        {"database": "run-steps"},
        {"cluster": "x'y"},
        {"replica_path": "/a'b", "variant": "replicated"},
        {"replica_path": ""},
        {"replica_name": ""},
        {"on_cluster": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_name_that_cannot_stand_in_sql_is_refused_by_its_setting(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"^clickhouse.{next(iter(settings))} "):
        layout_of(ClickHouseSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        pytest.param("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"], id="two"),
        pytest.param("SELECT 1;\n;\n", ["SELECT 1"], id="empty ones"),
        pytest.param("-- a; b\nSELECT 1;", ["-- a; b\nSELECT 1"], id="line comment"),
        pytest.param("/* a; 'b */ SELECT 1;", ["/* a; 'b */ SELECT 1"], id="block comment"),
        pytest.param("# a; b\nSELECT 1;", ["# a; b\nSELECT 1"], id="hash comment"),
        pytest.param("SELECT 1; -- the end;", ["SELECT 1"], id="comment alone"),
        pytest.param(r"SELECT 'it\'s; a', 'b'';c'; X", [r"SELECT 'it\'s; a', 'b'';c'", "X"], id="strings"),
        pytest.param('SELECT ";", `;`', ['SELECT ";", `;`'], id="quoted names"),
        pytest.param("SELECT $a$; $b$ '$a$; X", ["SELECT $a$; $b$ '$a$", "X"], id="heredoc"),
        pytest.param("SELECT '--;'; X", ["SELECT '--;'", "X"], id="comment in a string"),
        pytest.param("SELECT 1 - -1; X", ["SELECT 1 - -1", "X"], id="minus"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_splits_at_the_semicolons_that_end_a_statement(text: str, statements: list[str]) -> None:
    assert list(split(text)) == statements


@pytest.mark.parametrize("text", ["SELECT 1;\nSELECT 'a", 'SELECT 1;\n"', "\n/* never closed", "\n`x"])
def test_a_string_that_does_not_end_is_named_by_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 2: .* is opened and never closed"):
        list(split(text))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_whatever_stands_in_a_string_stays_in_one_statement(values: list[str]) -> None:
    quoted = ["'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values]
    assert list(split(";".join(f"SELECT {value}" for value in quoted))) == [f"SELECT {value}" for value in quoted]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("0001_a.sql", "0001_b.sql"), "0001_b.sql: number 0001 is there twice"),
        (("0001_a.sql", "0003_c.sql"), "0003_c.sql: number 0003 is there but 0002 is missing"),
        (("0001_a.sql", "2_b.sql"), "2_b.sql: expected"),
        (("0001_a.shard.sql",), "0001_a.shard.sql: expected"),
    ],
)
def test_a_folder_of_files_that_is_not_in_order_is_refused(tmp_path: Path, names: tuple[str], fault: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=re.escape(fault)):
        shipped(tmp_path)


def test_a_checksum_is_of_the_text_and_not_of_its_line_ends() -> None:
    unix, windows, other = one_file("a\nb"), one_file("a\r\nb"), one_file("a\nc")
    assert unix.checksum == windows.checksum != other.checksum


def made(ttl: str = "", details: str = "") -> dict[str, TableSchema]:
    """Return run_steps as a server writes it; checked against a real one by the contract tests."""
    engine = f"ReplacingMergeTree(version) ORDER BY (a, b){ttl and f' TTL {ttl}'} SETTINGS index_granularity = 8192"
    column = f"`step_details` String CODEC(ZSTD(3)){details and f' TTL {details}'}, `metadata` Map(String, String)"
    text = f"CREATE TABLE runsteps.run_steps (`message_id` String CODEC(ZSTD(1)), {column}) ENGINE = {engine}"
    return {"run_steps": TableSchema("ReplacingMergeTree", engine, text)}


DAYS_30 = "toDateTime(created_at) + toIntervalDay(30)"


def ttl_changes(tables: dict[str, TableSchema], **days: int) -> list[str]:
    found = retention.changes(tables, Layout(), ClickHouseSettings.model_validate(days))
    return [statement.sql.removeprefix("ALTER TABLE runsteps.") for statement in found]


def test_without_a_retention_nothing_is_changed() -> None:
    assert ttl_changes({}) == ttl_changes(made()) == []


def test_a_retention_becomes_a_ttl_of_both_tables_once() -> None:
    both = [f"run_steps MODIFY TTL {DAYS_30}", "run_step_ledger MODIFY TTL toDateTime(ingested_at) + toIntervalDay(30)"]
    assert ttl_changes({}, retention_days=30) == both
    assert ttl_changes(made(DAYS_30), retention_days=30) == both[1:]
    assert ttl_changes(made(DAYS_30), retention_days=7)[0] == both[0].replace("30", "7")


def test_a_retention_that_is_taken_back_removes_the_ttl() -> None:
    assert ttl_changes(made(DAYS_30)) == ["run_steps REMOVE TTL"]
    assert ttl_changes(made(details=DAYS_30)) == ["run_steps MODIFY COLUMN step_details REMOVE TTL"]


def test_details_are_emptied_by_a_ttl_of_their_columns() -> None:
    assert ttl_changes(made(details=DAYS_30), details_retention_days=30) == [
        f"run_steps MODIFY COLUMN extra_fields String TTL {DAYS_30}"
    ]


def test_a_ttl_of_somebody_else_is_left_alone_and_never_overwritten() -> None:
    moved = "created_at + toIntervalDay(7) TO VOLUME 'cold'"
    assert ttl_changes(made(moved)) == []
    with pytest.raises(ConfigError, match=r"has a TTL that runstep has not set .*clickhouse\.retention_days to 0"):
        ttl_changes(made(moved), retention_days=30)


class InDatabase:
    """A server whose database has this engine and, as far as it is asked, these tables and applied migrations."""

    def __init__(self, engine: str, applied: Sequence[Entry] = ()) -> None:
        self.engine = engine
        self.applied = applied

    def command(self, cmd: str, *, use_database: bool = True) -> None:
        raise AssertionError((cmd, use_database))

    def query(self, query: str, parameters: dict[str, Any] | None = None) -> Any:
        del parameters
        if "system.databases" in query:
            return SimpleNamespace(result_rows=[[self.engine]])
        if "system.tables" in query:
            return SimpleNamespace(result_rows=[["schema_migrations", "", "", ""]] if self.applied else [])
        return SimpleNamespace(result_rows=self.applied)


def planned(client: InDatabase, **settings: Any) -> str:
    return "".join(statement.sql for statement in plan(client, ClickHouseSettings.model_validate(settings)))


def test_a_replicated_database_is_given_no_paths_which_it_would_refuse() -> None:
    assert "ReplicatedReplacingMergeTree('/clickhouse" in planned(InDatabase("Atomic"), variant="replicated")
    for variant in ("replicated", "cluster"):
        sql = planned(InDatabase("Replicated"), variant=variant)
        assert "= ReplicatedReplacingMergeTree(version)\n" in sql
        assert "= ReplicatedReplacingMergeTree()\n" in sql
        assert "ReplicatedReplacingMergeTree('" not in sql


@pytest.mark.parametrize(
    ("settings", "cause", "fix"),
    [
        ({"variant": "single"}, "each replica would have rows of its own", "clickhouse.variant to replicated"),
        ({"variant": "cluster", "shard_replicas": False}, "would have rows of its own", "clickhouse.variant to"),
        ({"variant": "replicated", "on_cluster": True}, "on_cluster is true", "clickhouse.on_cluster to false"),
    ],
)
def test_no_table_of_a_replicated_database_has_its_rows_on_one_replica(
    settings: dict[str, Any], cause: str, fix: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^clickhouse\..*{cause}.*: set {fix}"):
        planned(InDatabase("Replicated"), **settings)
    assert planned(InDatabase("Atomic"), **settings)


def test_tables_that_stand_in_a_replicated_database_already_are_not_refused() -> None:
    first = shipped()[0]
    entry = Entry(first.version, first.name, first.checksum, "single", "0.1.0", datetime.now(UTC))
    assert "ReplacingMergeTree(version)" in planned(InDatabase("Replicated", [entry]), variant="single")


def hosts(url: str, *names: str, **more: str) -> list[str]:
    settings = ClickHouseSettings(url=SecretStr(url), hosts=names, **more)
    return [one.url.get_secret_value() for one in each_host(settings)]


def test_hosts_take_from_the_url_what_they_leave_out() -> None:
    url = "https://ada:s3cret@balancer:8443"
    assert hosts(url) == [url]
    assert hosts(url, "a", "b:9000") == ["https://ada:s3cret@a:8443", "https://ada:s3cret@b:9000"]
    assert hosts(url, "http://a:8123", "http://u:p@b") == ["http://ada:s3cret@a:8123", "http://u:p@b"]
    assert hosts("http://balancer", "a") == ["http://a"]


def test_an_embedded_database_has_no_hosts() -> None:
    with pytest.raises(ConfigError, match=r"clickhouse\.hosts needs a clickhouse\.url that begins with http"):
        hosts("chdb:data", "a")
