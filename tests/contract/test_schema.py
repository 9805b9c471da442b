"""What the tables promise, on the real server and embedded alike: columns, idempotence, the order of the views."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.migrations import MigrationStatus, connected, plan, status
from pipeline.errors import ConfigError, ErrorClass, ServiceUnavailable, SinkError, SinkUnavailable
from schemas.ddl import Layout, Migration, shipped
from schemas.row import INGEST_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS
from tests.support.fakes.rows import step_row, unstored_row
from tests.support.store_rig import Store, server_settings

T = TypeVar("T")
MADE = "SELECT name, create_table_query FROM system.tables WHERE concat(database, '.') = '@' ORDER BY name"
TYPES = dict(INGEST_COLUMNS)
COLUMNS = {
    "run_step_ingest": tuple(TYPES),
    "run_steps": STEP_COLUMNS,
    "run_steps_current": STEP_COLUMNS,
    "run_step_ledger": LEDGER_COLUMNS,
}


@pytest.fixture(params=["server", "embedded"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "server":
        url, database = request.getfixturevalue("clickhouse").url, request.getfixturevalue("database")
        settings = server_settings(url, database)
    else:
        settings = server_settings(f"chdb:{tmp_path / 'data'}", "runsteps")
    with connected(settings) as client:
        yield Store(client, settings)


@pytest.fixture
def store(empty: Store) -> Store:
    empty.migrate()
    return empty


def test_tables_have_the_columns_of_the_row_in_its_order(store: Store) -> None:
    for table, names in COLUMNS.items():
        columns = f"SELECT name, type FROM system.columns WHERE table = '{table}' AND database = '{store.database}'"  # noqa: S608 - names of this test
        assert store.rows(f"{columns} ORDER BY position") == [(name, TYPES[name]) for name in names]


def test_a_fresh_schema_has_no_findings_and_is_not_applied_again(store: Store) -> None:
    assert store.findings() == []
    assert store.migrate() == []
    assert plan(store.client, store.settings) == []
    assert set(store.states()) == {"applied"}


def test_before_the_first_migration_everything_is_pending_and_missing(empty: Store) -> None:
    assert set(empty.states()) == {"pending"}
    assert any("run_steps is missing" in finding and "runstep migrate" in finding for finding in empty.findings())


def test_only_stored_rows_are_steps_and_all_rows_are_accounted_for(store: Store) -> None:
    store.insert([step_row(0), unstored_row(1), unstored_row(2, outcome="dead_lettered", reason="not_utf8")], "a")
    assert store.counts() == (1, 3)
    assert store.rows("SELECT step_id FROM @run_steps") == [("step_0",)]


def test_a_superseded_row_is_in_the_ledger_alone_and_no_trace_of_it_is_in_the_steps(store: Store) -> None:
    store.run("SYSTEM STOP MERGES @run_steps")
    rows = [step_row(0, version=1, step_details="", is_superseded=True), step_row(1, step_id="step_0", version=2)]
    store.insert(rows, "a")
    assert store.counts() == (1, 2)
    assert store.rows("SELECT kafka_offset FROM @run_steps") == [(1,)]


def test_a_daemon_of_the_version_before_goes_on_while_the_tables_change_and_afterwards(empty: Store) -> None:
    empty.migrate(shipped()[:13])
    empty.insert_as_before([step_row(0)])
    assert "0014_superseded_rows" in empty.migrate()
    empty.insert_as_before([step_row(1)])
    empty.insert([step_row(2)], "a")
    assert empty.counts() == (3, 3)
    assert empty.findings() == []


def test_a_daemon_waits_with_the_cause_where_the_tables_are_those_of_the_version_before(empty: Store) -> None:
    empty.migrate(shipped()[:13])
    with pytest.raises(SinkUnavailable, match=r"is_superseded.*run `runstep migrate`") as caught:
        empty.insert([step_row(0)], "a")
    assert caught.value.error_class is ErrorClass.ENVIRONMENT
    assert empty.counts() == (0, 0)
    empty.migrate()
    empty.insert([step_row(0)], "a")
    assert empty.counts() == (1, 1)


def test_a_token_twice_leaves_one_physical_row_in_both_tables(store: Store) -> None:
    for _ in range(2):
        store.insert([step_row(0), step_row(1)], "a")
    assert store.counts() == (2, 2)


def test_duplicates_are_physical_only(store: Store) -> None:
    store.run("SYSTEM STOP MERGES @run_steps")
    store.run("SYSTEM STOP MERGES @run_step_ledger")
    store.insert([step_row(0)], "a")
    store.insert([step_row(0)], "b")
    assert store.counts() == (2, 2)
    assert store.rows("SELECT count() FROM @run_steps_current") == [(1,)]
    assert store.rows("SELECT count() FROM @run_step_ledger FINAL") == [(1,)]


def test_a_late_in_progress_does_not_overwrite_the_end(store: Store) -> None:
    store.insert([step_row(7, version=9)], "a")
    store.insert([step_row(8, step_id="step_7", status="in_progress", ended_at=None, version=3)], "b")
    assert store.rows("SELECT status, kafka_offset FROM @run_steps_current") == [("completed", 7)]
    assert store.rows("SELECT count() FROM @run_step_ledger FINAL") == [(2,)]


def test_a_fault_of_the_steps_leaves_the_ledger_empty_and_the_same_insert_heals(store: Store) -> None:
    assert_ledger_is_last(store)


@pytest.mark.parametrize("broken", ["run_steps", "run_step_ledger"])
def test_no_fault_of_one_table_outlasts_the_same_insert(store: Store, broken: str) -> None:
    """In whatever order the server writes the two: before 26.7 it is none that could be relied on."""
    store.run(f"ALTER TABLE @{broken} ADD CONSTRAINT broken CHECK kafka_offset > 1000000")
    rows = [step_row(0), unstored_row(1)]
    with pytest.raises(SinkError):
        store.insert(rows, "a")
    store.run(f"ALTER TABLE @{broken} DROP CONSTRAINT broken")
    store.insert(rows, "a")
    assert store.counts() == (1, 2)


def test_the_ledger_is_last_after_a_restart_too(clickhouse_factory: Callable[..., Any]) -> None:
    server = clickhouse_factory()
    settings = server_settings(server.url, "runsteps")
    with connected(settings) as client:
        Store(client, settings).migrate()
    server.restart()
    with connected(settings) as client:
        assert_ledger_is_last(Store(client, settings))


def assert_ledger_is_last(store: Store) -> None:
    store.run("ALTER TABLE @run_steps ADD CONSTRAINT broken CHECK version > 1000000")
    rows = [step_row(0), unstored_row(1)]
    with pytest.raises(SinkError):
        store.insert(rows, "a")
    assert store.counts() == (0, 0)
    store.run("ALTER TABLE @run_steps DROP CONSTRAINT broken")
    store.insert(rows, "a")
    assert store.counts() == (1, 2)


def test_the_ingest_table_takes_nothing_before_both_views_are_there(empty: Store) -> None:
    for count in (4, 5):
        with pytest.raises(ServiceUnavailable, match=r"applying 000._broken"):
            empty.migrate([*shipped()[:count], broken_after(count)])
        if count == 4:
            with pytest.raises(SinkError, match=r"run_steps_mv is missing.*run_step_ledger_mv is missing"):
                empty.insert([step_row(0)], "a")
            with pytest.raises(Error, match="views are missing"):  # The table's own refusal, of any other writer.
                empty.run("INSERT INTO @run_step_ingest (kafka_topic) VALUES ('t')")
    empty.insert_as_before([step_row(0)])
    assert empty.counts() == (1, 1)


def broken_after(count: int) -> Migration:
    return Migration(count + 1, f"{count + 1:04d}_broken", None, "ALTER TABLE nowhere.broken DROP COLUMN x")


def test_a_migration_that_broke_off_names_its_file_and_goes_on_where_it_was(empty: Store) -> None:
    files = list(shipped())
    broken = replace(files[3], text=f"{files[3].text}\nSELECT no_such_function();")
    with pytest.raises(ServiceUnavailable, match=r"applying 0004_run_step_ingest \(SELECT no_such_function"):
        empty.migrate([*files[:3], broken, *files[4:]])
    assert set(empty.states()[:3]) == {"applied"}
    assert set(empty.states()[3:]) == {"pending"}
    assert empty.migrate()[0] == "0004_run_step_ingest"
    assert empty.findings() == []


def test_an_edited_file_is_refused_and_nothing_is_done(store: Store) -> None:
    first, *rest = shipped()
    edited = [replace(first, text=f"{first.text} "), *rest]
    assert store.states(edited)[0] == "edited"
    with pytest.raises(ConfigError, match=r"0001_database\.sql is not the text that runstep .* applied to"):
        store.migrate(edited)


def test_a_database_of_a_later_version_is_refused(store: Store) -> None:
    assert store.states(shipped()[:13])[-1] == "unknown"
    with pytest.raises(ConfigError, match="has had 0014_superseded_rows from runstep"):
        store.migrate(shipped()[:13])


def test_a_database_of_another_variant_is_refused(store: Store) -> None:
    other = store.settings.model_copy(update={"variant": "cluster"})
    with pytest.raises(ConfigError, match=r"clickhouse\.variant is cluster, but .* was made as single"):
        plan(store.client, other)


def test_what_was_dropped_is_made_again(store: Store) -> None:
    store.run("DROP VIEW @run_steps_current")
    (finding,) = store.findings()
    assert "run_steps_current is missing" in finding
    assert store.migrate()[0] == "0007_run_steps_current"
    assert store.findings() == []


def test_a_new_file_is_applied_alone(store: Store) -> None:
    sql = "ALTER TABLE ${database}.run_steps ADD COLUMN IF NOT EXISTS note String"
    new = [*shipped(), Migration(len(shipped()) + 1, "note", None, sql)]
    assert store.states(new)[-1] == "pending"
    assert (store.migrate(new), store.migrate(new)) == ([new[-1].name], [])


def test_a_view_that_another_migration_drops_at_the_end_of_this_one_is_made_again_as_it_was(store: Store) -> None:
    before = store.rows(MADE)
    views = "DROP VIEW IF EXISTS ${database}.runs; DROP VIEW IF EXISTS ${database}.tool_calls"
    assert store.migrate([*shipped(), Migration(len(shipped()) + 1, "race", None, views)]) == ["race"]
    assert (store.rows(MADE), store.findings()) == (before, [])


def test_runs_is_not_empty_in_a_database_that_was_filled_before_its_view_changed(empty: Store) -> None:
    empty.migrate(shipped()[:10])
    empty.insert_as_before([step_row(0), step_row(1)])
    assert "0011_runs_of_all_time" in empty.migrate()
    assert empty.rows("SELECT sum(steps) FROM @runs") == [(2,)]


def test_a_database_that_was_filled_before_merges_column_by_column_too(empty: Store) -> None:
    empty.migrate(shipped()[:12])
    empty.insert_as_before([step_row(0, version=1), step_row(1, step_id="step_0", version=2)])
    assert "0013_vertical_merges" in empty.migrate()
    made = empty.rows(
        "SELECT engine_full FROM system.tables WHERE database || '.' = '@' AND name IN ('run_steps', 'run_step_ledger')"
    )
    assert [text.count("vertical_merge_algorithm_min_rows_to_activate = 1") for (text,) in made] == [1, 1]
    empty.run("OPTIMIZE TABLE @run_steps FINAL")
    empty.run("OPTIMIZE TABLE @run_step_ledger FINAL")
    assert empty.counts() == (1, 2)
    assert empty.rows("SELECT kafka_offset FROM @run_steps_current") == [(1,)]


def test_a_block_is_not_merged_before_it_is_written_and_readers_see_each_step_once(store: Store) -> None:
    store.run("SYSTEM STOP MERGES @run_steps")
    store.insert([step_row(0, version=2), step_row(1, step_id="step_0", version=1)], "a")
    assert store.counts() == (2, 2)
    assert store.rows("SELECT kafka_offset FROM @run_steps_current") == [(0,)]


def test_no_query_of_tool_calls_fails_for_a_row_whose_lists_are_not_parallel(empty: Store) -> None:
    lists = {"tool_types": ["function", "mcp"], "tool_names": ["weather"], "tool_call_ids": ["c1", "c2", "c3"]}
    question = "SELECT call_index, tool_type, tool_name, tool_call_id FROM @tool_calls ORDER BY call_index"
    wanted = [(1, "function", "weather", "c1"), (2, "mcp", "", "c2")]
    empty.migrate(shipped()[:10])
    empty.insert_as_before([step_row(0, **lists)])
    types = "SELECT name, type FROM system.columns WHERE database || '.' = '@' AND table = 'tool_calls' ORDER BY name"
    before = empty.rows(types)
    assert empty.rows(question) == wanted
    empty.migrate()
    assert empty.rows(question) == wanted
    assert empty.rows(types) == before


def test_retention_is_set_once_changed_and_removed(store: Store) -> None:
    before = store.rows(MADE)
    both: dict[str, Any] = {"retention_days": 30, "details_retention_days": 7}
    assert (store.migrate(**both), store.migrate(**both)) == (["retention"], [])
    assert store.migrate(retention_days=31, details_retention_days=7) == ["retention"]
    assert (store.migrate(), store.migrate(), store.findings()) == (["retention"], [], [])
    assert store.rows(MADE) == before


def test_retention_forgets_old_steps_and_old_details_only(store: Store) -> None:
    store.insert([step_row(0), step_row(1, created_at=int(time.time() * 1000))], "a")
    store.migrate(details_retention_days=7)
    store.run("OPTIMIZE TABLE @run_steps FINAL")
    assert store.rows("SELECT step_id FROM @run_steps WHERE step_details = ''") == [("step_0",)]
    store.migrate(retention_days=7)
    store.run("OPTIMIZE TABLE @run_steps FINAL")
    assert store.rows("SELECT step_id FROM @run_steps") == [("step_1",)]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE @run_steps DROP COLUMN total_tokens",
        "ALTER TABLE @run_step_ledger DROP COLUMN reason",
        "ALTER TABLE @run_steps MODIFY COLUMN duration_ms Nullable(Int64)",
        "ALTER TABLE @run_steps MODIFY SETTING non_replicated_deduplication_window = 0",
        "ALTER TABLE @run_step_ledger RESET SETTING non_replicated_deduplication_window",
        "ALTER TABLE @run_steps_current MODIFY SQL SECURITY INVOKER",
    ],
)
def test_damage_is_found_and_the_fix_that_is_named_heals(store: Store, damage: str) -> None:
    store.run(damage)
    (finding,) = store.findings()
    _, fix = finding.split(": ", maxsplit=1)
    store.run(fix)
    assert store.findings() == []


def test_a_definer_who_is_gone_is_found(clickhouse_factory: Callable[..., Any]) -> None:
    user = "<{0}><password/><networks><ip>::/0</ip></networks><access_management>1</access_management></{0}>"
    users = f"<clickhouse><users>{user.format('migrator')}</users></clickhouse>"
    server = clickhouse_factory(users=users)
    settings = server_settings(server.url, "runsteps")
    with connected(settings.model_copy(update={"username": "migrator"})) as client:
        Store(client, settings).migrate()
    server.users = None
    server.restart()
    with connected(settings) as client:
        store = Store(client, settings)
        findings = store.findings()
        assert len(findings) == 6
        assert all("acts as the user migrator, who is gone" in finding for finding in findings)
        for finding in findings:
            store.run(finding.rsplit(", or ", maxsplit=1)[1])
        assert store.findings() == []


@pytest.mark.parametrize(
    "layout",
    [
        Layout(variant="replicated", replica_path="zk2:/t/{shard}/{table}"),
        Layout(variant="replicated", on_cluster=True, cluster="{cluster}"),
        Layout(variant="replicated").in_replicated_database(),
        Layout(variant="cluster"),
        Layout(variant="cluster", on_cluster=True, shard_replicas=False),
    ],
    ids=lambda layout: f"{layout.variant}-{layout.on_cluster}-{layout.replica_path}",
)
def test_every_variant_is_sql_to_the_server(clickhouse: Any, layout: Layout) -> None:
    for migration in shipped():
        for sql in layout.statements(migration):
            clickhouse.query(f"EXPLAIN AST {sql}")


def test_the_status_tells_when_and_by_which_version(store: Store) -> None:
    first = status(store.client, store.settings)[0]
    assert isinstance(first, MigrationStatus)
    assert first.applied_at is not None
    assert (first.name, first.runstep_version) == ("0001_database", "0.1.0")
