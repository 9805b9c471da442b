"""The three users of deploy/clickhouse/users.xml on a real server: each does its work, and nothing else."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clickhouse.migrations import check_schema, connected, migrate
from pipeline.commands import _exit_codes
from pipeline.tools.audit.ledger_side import SETTINGS
from tests.servers.addresses import ClickHouseRefused
from tests.servers.clickhouse import ClickHouseServer
from tests.support.migration_rig import ENVIRONMENT, PASSWORDS, USERS, as_user, command, write


@pytest.fixture(scope="module")
def guarded() -> Iterator[ClickHouseServer]:
    """A server with the users of deploy/, migrated by its migrator, with one step written by its writer."""
    server = ClickHouseServer(users=USERS, environment=ENVIRONMENT)
    with server:
        settings = as_user(server, "migrator")
        with connected(settings) as client:
            migrate(client, settings)
            assert migrate(client, settings) == []
            migrate(client, settings.model_copy(update={"retention_days": 3650, "details_retention_days": 30}))
            migrate(client, settings)
            assert check_schema(client, "runsteps") == []
        write(as_user(server, "writer"), 0)
        yield server


ALLOWED = {
    "writer": ["SELECT count() FROM runsteps.run_step_ledger FINAL", "DESCRIBE runsteps.run_steps"],
    "reader": [
        "SELECT count() FROM runsteps.run_step_ledger FINAL",
        "SELECT count() FROM runsteps.run_steps_current",
        "SELECT count() FROM runsteps.run_steps_current SETTINGS max_execution_time = 600",
    ],
}
FORBIDDEN = {
    "migrator": [
        "DROP TABLE runsteps.run_steps",
        "CREATE DATABASE other",
        "CREATE TABLE default.x (a Int8) ENGINE Null",
    ],
    "writer": [
        "SELECT count() FROM runsteps.run_steps",
        "SELECT count() FROM runsteps.run_steps_current",
        "INSERT INTO runsteps.schema_migrations (version) VALUES (1)",
        "INSERT INTO runsteps.run_steps (step_id) VALUES ('x')",
        "INSERT INTO runsteps.run_step_ledger (step_id) VALUES ('x')",
        "ALTER TABLE runsteps.run_steps DELETE WHERE 1",
        "TRUNCATE TABLE runsteps.run_steps",
        "DROP TABLE runsteps.run_step_ingest",
        "CREATE TABLE runsteps.x (a Int8) ENGINE Null",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    ],
    "reader": [
        "SELECT count() FROM runsteps.run_steps",
        "SELECT count() FROM runsteps.schema_migrations",
        "INSERT INTO runsteps.run_step_ingest (step_id) VALUES ('x')",
        "DROP VIEW runsteps.run_steps_current",
        "SET readonly = 0",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    ],
}


@pytest.mark.parametrize(("role", "sql"), [(role, sql) for role, texts in ALLOWED.items() for sql in texts])
def test_a_user_may_do_its_work(guarded: ClickHouseServer, role: str, sql: str) -> None:
    with connected(as_user(guarded, role)) as client:
        assert client.query(sql).result_rows


@pytest.mark.parametrize(("role", "sql"), [(role, sql) for role, texts in FORBIDDEN.items() for sql in texts])
def test_a_user_may_do_nothing_else(guarded: ClickHouseServer, role: str, sql: str) -> None:
    with pytest.raises(Exception, match=r"Code: (497|164)\. "), connected(as_user(guarded, role)) as client:
        client.command(sql)


@pytest.mark.parametrize(
    "setting",
    [
        "max_execution_time = 0",
        "max_execution_time = 601",
        "max_memory_usage = 0",
        "max_memory_usage = 4000000001",
        "max_memory_usage_for_user = 0",
        "max_concurrent_queries_for_user = 0",
        "timeout_overflow_mode = 'break'",
    ],
)
def test_a_reader_lifts_no_limit(guarded: ClickHouseServer, setting: str) -> None:
    with pytest.raises(ClickHouseRefused, match=r"Code: 452\."):
        guarded.query(f"SELECT 1 SETTINGS {setting}", user="runstep_reader", password=PASSWORDS["reader"])


def test_what_an_audit_asks_for_is_within_a_readers_limits(guarded: ClickHouseServer) -> None:
    asked = {name: str(value) for name, value in SETTINGS.items()}
    assert guarded.query("SELECT 1", user="runstep_reader", password=PASSWORDS["reader"], **asked) == "1\n"


def test_the_limits_of_a_profile_end_what_goes_too_far(guarded: ClickHouseServer) -> None:
    """Both are lowered for this one query, which a reader may do, so that little time and memory is spent."""
    reader = {"user": "runstep_reader", "password": PASSWORDS["reader"]}
    limits = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')"
    assert guarded.query(limits, **reader) == "60\t4000000000\n"
    with pytest.raises(ClickHouseRefused, match=r"Code: 159\."):
        guarded.query("SELECT sum(number * 2) FROM numbers(1000000000000) SETTINGS max_execution_time = 1", **reader)
    with pytest.raises(ClickHouseRefused, match=r"Code: 241\."):
        guarded.query("SELECT length(range(100000000)) SETTINGS max_memory_usage = 1000000", **reader)
    writer = {"user": "runstep_writer", "password": PASSWORDS["writer"]}
    assert guarded.query("SELECT getSetting('max_memory_usage')", **writer) == "4000000000\n"


def test_each_user_has_a_quota_and_only_the_readers_has_limits(guarded: ClickHouseServer) -> None:
    """The server of the tests counts what a quota allows, but refuses nothing: that is left to a real one."""
    quotas = guarded.query(
        "SELECT name, keys, apply_to_list FROM system.quotas WHERE name LIKE 'runstep%' ORDER BY name"
    )
    assert quotas == (
        "runstep_reader\t['ip_address']\t['runstep_reader']\nrunstep_writer\t['user_name']\t['runstep_writer']\n"
    )
    limits = guarded.query(
        "SELECT duration, max_queries, max_errors, max_result_rows, max_read_rows, max_execution_time"
        " FROM system.quota_limits WHERE quota_name LIKE 'runstep%' ORDER BY quota_name"
    )
    assert limits == "3600\t100000\t10000\t100000000\t\\N\t14400\n" + "3600" + "\t\\N" * 5 + "\n"
    with connected(as_user(guarded, "reader")) as client:
        (counted,) = client.query("SELECT queries FROM system.quota_usage").result_rows
    assert counted[0] > 0


def test_the_writer_sees_enough_for_its_start_check(guarded: ClickHouseServer) -> None:
    with connected(as_user(guarded, "writer")) as client:
        assert check_schema(client, "runsteps") == []


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_a_server_without_one_of_the_passwords_does_not_start(missing: str) -> None:
    server = ClickHouseServer(
        users=USERS, environment={name: value for name, value in ENVIRONMENT.items() if name != missing}
    )
    try:
        with pytest.raises(Exception, match=r"Password hash .* has length 0"):
            server.start()
    finally:
        server.close()


@pytest.mark.parametrize("as_files", [False, True])
def test_a_container_gets_the_hashes_and_not_the_passwords(tmp_path: Path, as_files: bool) -> None:
    given = {f"CLICKHOUSE_{role.upper()}_PASSWORD": password for role, password in PASSWORDS.items()}
    if as_files:
        for name, password in given.items():
            (tmp_path / name).write_text(f"{password}\n")
        given = {f"{name}_FILE": str(tmp_path / name) for name in given}
    script = ["bash", str(USERS.with_name("with-hashed-passwords.sh")), "env"]
    shown = subprocess.run(script, env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, text=True, check=True)
    assert {line for line in shown.stdout.splitlines() if line.startswith("CLICKHOUSE")} == {
        f"{name}={value}" for name, value in ENVIRONMENT.items()
    }
    given = {name: value for name, value in given.items() if "READER" not in name}
    refused = subprocess.run(
        script, env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "CLICKHOUSE_READER_PASSWORD" in refused.stderr, refused.stdout) == (1, True, "")


def test_a_missing_grant_is_named_with_the_file_that_has_it(
    guarded: ClickHouseServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = command(monkeypatch, capsys)
    url = as_user(guarded, "reader").url.get_secret_value()
    code, _, err = run(CLICKHOUSE__URL=url, CLICKHOUSE__DATABASE="runsteps")
    assert code == _exit_codes.CONFIGURATION
    assert "applying 0001_database" in err
    assert "deploy/clickhouse/users.xml" in err
