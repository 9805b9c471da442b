"""`runstep migrate` on real servers: the command, the three users of deploy/, a cluster of two shards, the topics."""

import hashlib
import json
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.commands import exits
from pipeline.config import ClickHouseSettings, KafkaSettings, Settings
from pipeline.embedded import embedded_broker
from pipeline.errors import SinkUnavailable
from pipeline.migrations import Client, check_schema, connected, migrate, plan
from pipeline.sink import ClickHouseSink
from pipeline.topics import create_topics, topics
from tests.fakes.rows import columns_of, step_row
from tests.servers.clickhouse import ClickHouseServer

USERS = Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.xml"
PASSWORDS = {"migrator": "m1grate", "writer": "wr1te", "reader": "re4d"}
ENVIRONMENT = {
    f"CLICKHOUSE_{role.upper()}_PASSWORD_SHA256": hashlib.sha256(password.encode()).hexdigest()
    for role, password in PASSWORDS.items()
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, clickhouse: Any, database: str
) -> Run:
    """Run `runstep migrate` on a database of the test's own; give exit code, answer and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", database)

    def call(*arguments: str, **environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(f"RUNSTEP_{name}", value)
            code = execute(["migrate", *arguments])
        answer = capsys.readouterr()
        return code, answer.out, answer.err

    return call


def test_applies_what_is_missing_and_then_nothing(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (exits.OK, "")
    assert re.search(r"^http://\S+: applied 0001_database, .*, 0007_run_steps_current$", out.strip())
    assert run()[1].endswith(": nothing to do\n")


def test_a_dry_run_prints_sql_that_makes_the_same_tables(run: Run, clickhouse: Any, database: str) -> None:
    code, out, _ = run("--dry-run")
    assert code == exits.OK
    assert database not in clickhouse.query("SHOW DATABASES")
    _, answer, _ = run("--dry-run", "--json")
    statements = [statement["sql"] for statement in json.loads(answer)["hosts"][0]["statements"]]
    assert all(f"{sql};" in out for sql in statements)
    for sql in statements:
        clickhouse.query(sql)
    with connected(ClickHouseSettings(url=SecretStr(clickhouse.url), database=database)) as client:
        assert check_schema(client, database) == []


def test_the_status_is_a_table_and_json(run: Run) -> None:
    states = [one["state"] for one in json.loads(run("--status", "--json")[1])["hosts"][0]["migrations"]]
    assert set(states) == {"pending"}
    run()
    code, out, _ = run("--status")
    assert (code, "0005_views" in out, "applied" in out, "pending" in out) == (exits.OK, True, True, False)


def test_a_status_with_an_edited_file_is_bad_news(run: Run, clickhouse: Any, database: str) -> None:
    run()
    clickhouse.query(
        f"ALTER TABLE {database}.schema_migrations UPDATE checksum = 'x' WHERE version = 2", mutations_sync="1"
    )
    code, out, _ = run("--status")
    assert (code, "edited" in out) == (exits.FINDINGS, True)
    code, _, err = run()
    assert (code, "0002_run_steps.sql is not the text" in err) == (exits.CONFIGURATION, True)


def test_findings_are_bad_news_with_their_cure(run: Run, clickhouse: Any, database: str) -> None:
    run()
    clickhouse.query(f"ALTER TABLE {database}.run_steps DROP COLUMN total_tokens")
    code, _, err = run()
    assert code == exits.FINDINGS
    assert f"ALTER TABLE {database}.run_steps ADD COLUMN total_tokens Nullable(UInt64)" in err


def test_the_retention_of_the_settings_is_set(run: Run, clickhouse: Any, database: str) -> None:
    run()
    assert run(CLICKHOUSE__RETENTION_DAYS="90")[1].endswith("applied retention\n")
    assert "toIntervalDay(90)" in clickhouse.query(f"SHOW CREATE TABLE {database}.run_steps")
    assert run(CLICKHOUSE__RETENTION_DAYS="90")[1].endswith("nothing to do\n")


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        pytest.param({"CLICKHOUSE__URL": "http://127.0.0.1:1"}, exits.UNAVAILABLE, "127.0.0.1:1", id="server away"),
        pytest.param({"CLICKHOUSE__USERNAME": "nobody"}, exits.CONFIGURATION, "516", id="unknown user"),
        pytest.param({"CLICKHOUSE__DATABASE": "a'b"}, exits.CONFIGURATION, "clickhouse.database", id="no identifier"),
        pytest.param({"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, exits.UNAVAILABLE, "Kafka at", id="Kafka away"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, environment: dict[str, str], code: int, words: str) -> None:
    given, out, err = run("--topics", **{"KAFKA__BOOTSTRAP_TIMEOUT": "0.5", **environment})
    assert (given, words in err, "Traceback" in out + err) == (code, True, False)
    assert len(err.strip().splitlines()) == 1


def test_options_that_exclude_each_other_are_wrong_usage(run: Run) -> None:
    assert run("--dry-run", "--status")[0] == exits.USAGE
    assert run("--topics", "--partitions", "0")[0] == exits.USAGE


def test_migrations_at_the_same_time_make_one_schema(clickhouse: Any, database: str) -> None:
    settings = ClickHouseSettings(url=SecretStr(clickhouse.url), database=database, retention_days=30)
    start, faults = threading.Barrier(4), list[BaseException]()

    def one() -> None:
        try:
            with connected(settings) as client:
                start.wait()
                migrate(client, settings)
        except BaseException as error:  # noqa: BLE001 - the test fails with it
            faults.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with connected(settings) as client:
        assert (plan(client, settings), check_schema(client, database)) == ([], [])
    assert clickhouse.query(f"SELECT count() FROM {database}.schema_migrations FINAL") == "6\n"  # noqa: S608 - a fixture's name


# --- users


def as_user(server: ClickHouseServer, role: str, **settings: Any) -> ClickHouseSettings:
    url = f"http://runstep_{role}:{PASSWORDS[role]}@127.0.0.1:{server.http_port}"
    return ClickHouseSettings(url=SecretStr(url), **settings)


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


def write(settings: ClickHouseSettings, *offsets: int) -> None:
    sink = ClickHouseSink(lambda: settings)
    try:
        sink.probe()
        sink.insert(columns_of([step_row(offset) for offset in offsets]), f"token-{offsets}")
    finally:
        sink.close()


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
        "SELECT count() FROM runsteps.schema_migrations",
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


def test_a_container_gets_the_hashes_and_not_the_passwords() -> None:
    given = {f"CLICKHOUSE_{role.upper()}_PASSWORD": password for role, password in PASSWORDS.items()}
    script = ["bash", str(USERS.with_name("with-hashed-passwords.sh")), "env"]
    shown = subprocess.run(script, env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, text=True, check=True)
    assert {line for line in shown.stdout.splitlines() if line.startswith("CLICKHOUSE")} == {
        f"{name}={value}" for name, value in ENVIRONMENT.items()
    }
    del given["CLICKHOUSE_READER_PASSWORD"]
    refused = subprocess.run(
        script, env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "CLICKHOUSE_READER_PASSWORD" in refused.stderr, refused.stdout) == (1, True, "")


def test_a_missing_grant_is_named_with_the_file_that_has_it(run: Run, guarded: ClickHouseServer) -> None:
    url = as_user(guarded, "reader").url.get_secret_value()
    code, _, err = run(CLICKHOUSE__URL=url, CLICKHOUSE__DATABASE="runsteps")
    assert code == exits.CONFIGURATION
    assert "applying 0001_database" in err
    assert "deploy/clickhouse/users.xml" in err


# --- a cluster


Pair = tuple[ClickHouseServer, ClickHouseServer]


@pytest.fixture(scope="module", params=["", "<secret>between-shards</secret>"], ids=["as default", "with a secret"])
def shards(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two servers that are the shards of one cluster, with the users of deploy/ and the grants for clusters."""
    users = re.sub(r'<!-- clickhouse.variant = "cluster":(.*?)-->', r"\1", USERS.read_text(), flags=re.DOTALL)
    first, second = (ClickHouseServer(users=users, environment=ENVIRONMENT) for _ in range(2))
    places = "".join(
        f"<shard><replica><host>127.0.0.1</host><port>{server.tcp_port}</port></replica></shard>"
        for server in (first, second)
    )
    for server in (first, second):
        server.config = f"<remote_servers><runstep>{request.param}{places}</runstep></remote_servers>"
    with first, second:
        yield first, second


def cluster(server: ClickHouseServer, role: str, **more: Any) -> ClickHouseSettings:
    return as_user(server, role, variant="cluster", shard_replicas=False, **more)


def ask(server: ClickHouseServer, role: str, sql: str) -> int:
    with connected(cluster(server, role)) as client:
        return int(client.query(sql).result_rows[0][0])


def test_two_shards_keep_the_names_and_the_promises(run: Run, shards: Pair) -> None:
    first, second = shards
    code, out, err = run(
        CLICKHOUSE__URL=cluster(first, "migrator").url.get_secret_value(),
        CLICKHOUSE__HOSTS=",".join(f"127.0.0.1:{server.http_port}" for server in shards),
        CLICKHOUSE__DATABASE="runsteps",
        CLICKHOUSE__VARIANT="cluster",
        CLICKHOUSE__SHARD_REPLICAS="false",
    )
    assert (code, err, out.count("applied 0001_database")) == (exits.OK, "", 2)
    for server in (first, second, first):
        write(cluster(server, "writer"), *range(100))  # the same token, over either shard
    write(cluster(second, "writer"), *range(50))  # the same rows, another token
    for server in shards:
        assert ask(server, "reader", "SELECT count() FROM runsteps.run_step_ledger FINAL") == 100
        assert ask(server, "reader", "SELECT count() FROM runsteps.run_steps_current") == 100
        assert ask(server, "migrator", "SELECT uniqExact(step_id) FROM runsteps.run_steps_local") < 100
    with connected(cluster(first, "writer")) as client:
        assert check_schema(client, "runsteps") == []


def test_a_shard_that_is_away_stops_the_migration_before_it_begins(run: Run, shards: Pair) -> None:
    first, _ = shards
    database = f"away_{uuid.uuid4().hex[:8]}"
    code, out, err = run(
        CLICKHOUSE__URL=f"http://127.0.0.1:{first.http_port}",
        CLICKHOUSE__HOSTS=f"127.0.0.1:{first.http_port},127.0.0.1:1",
        CLICKHOUSE__DATABASE=database,
    )
    assert (code, out, "127.0.0.1:1" in err) == (exits.UNAVAILABLE, "", True)
    assert database not in first.query("SHOW DATABASES")


def test_a_dead_shard_refuses_the_insert_and_the_same_insert_heals(clickhouse_factory: Callable[..., Any]) -> None:
    first, second = (clickhouse_factory() for _ in range(2))
    places = "".join(
        f"<shard><replica><host>127.0.0.1</host><port>{server.tcp_port}</port></replica></shard>"
        for server in (first, second)
    )
    settings = []
    for server in (first, second):
        server.config = f"<remote_servers><runstep>{places}</runstep></remote_servers>"
        server.restart()
        settings.append(ClickHouseSettings(url=SecretStr(server.url), variant="cluster", shard_replicas=False))
    for one in settings:
        with connected(one) as client:
            migrate(client, one)
    second.kill()
    with pytest.raises(SinkUnavailable):
        write(settings[0], *range(20))
    second.start()
    write(settings[0], *range(20))
    with connected(settings[1]) as client:
        assert counts(client) == (20, 20)


def counts(client: Client) -> tuple[int, int]:
    """Return the physical rows of the steps and of the ledger, over all shards."""
    ((steps, ledger),) = client.query(
        "SELECT (SELECT count() FROM runsteps.run_steps), (SELECT count() FROM runsteps.run_step_ledger)"
    ).result_rows
    return steps, ledger


# --- topics


@pytest.fixture
def kafka_settings(kafka: Any) -> Settings:
    name = f"migrate-{uuid.uuid4().hex[:8]}"
    return Settings(kafka=KafkaSettings(bootstrap_servers=(kafka.bootstrap,), topics=(f"{name}-a", f"{name}-b")))


def test_topics_are_made_once_with_the_dead_letter_topic(kafka_settings: Settings) -> None:
    a, b = kafka_settings.kafka.topics
    assert [topic.state for topic in topics(kafka_settings)] == ["missing"] * 3
    made = create_topics(kafka_settings, partitions=3, replication_factor=1)
    assert made == [(a, "created", 3), (b, "created", 3), (f"{a}.dlq", "created", 3)]
    assert [tuple(topic)[1:] for topic in create_topics(kafka_settings, partitions=5)] == [("present", 3)] * 3


def test_the_embedded_broker_takes_the_same_call() -> None:
    with embedded_broker() as bootstrap:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=(bootstrap,)))
        made = create_topics(settings, partitions=4)
        assert made == [("run-steps", "created", 4), ("run-steps.dlq", "created", 4)]
        assert [topic.state for topic in create_topics(settings)] == ["present", "present"]


def test_a_dead_letter_may_be_as_large_as_the_settings_say(kafka_settings: Settings, kafka_admin: Any) -> None:
    create_topics(kafka_settings)
    resource = ConfigResource(ConfigResourceType.TOPIC, kafka_settings.dead_letter_topic)
    described = str(kafka_admin.describe_configs([resource]))
    assert str(kafka_settings.dead_letter.max_request_size) in described


def test_the_command_makes_topics_and_shows_them(run: Run, kafka_settings: Settings) -> None:
    environment = {
        "KAFKA__BOOTSTRAP_SERVERS": ",".join(kafka_settings.kafka.bootstrap_servers),
        "KAFKA__TOPICS": ",".join(kafka_settings.kafka.topics),
    }
    first = kafka_settings.kafka.topics[0]
    assert f"topic {first}: missing\n" in run("--status", "--topics", **environment)[1]
    assert f"topic {first}: missing\n" in run("--dry-run", "--topics", **environment)[1]
    made = run("--topics", "--partitions", "2", "--json", **environment)[1]
    assert json.loads(made)["topics"][0] == {"name": first, "state": "created", "partitions": 2}
    assert f"topic {first}: present (2 partitions)\n" in run("--topics", **environment)[1]


def test_more_replicas_than_brokers_is_a_setting_and_not_an_outage(run: Run, kafka_settings: Settings) -> None:
    code, _, err = run(
        "--topics",
        "--replication-factor=7",
        KAFKA__BOOTSTRAP_SERVERS=kafka_settings.kafka.bootstrap_servers[0],
        KAFKA__TOPICS=kafka_settings.kafka.topics[0],
    )
    assert (code, "--replication-factor" in err) == (exits.CONFIGURATION, True)
