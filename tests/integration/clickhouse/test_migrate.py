"""`runstep migrate` on real servers: what it applies, shows and refuses, and the topics it makes."""

import json
import re
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from pydantic import SecretStr
from structlog.testing import capture_logs

from pipeline.clickhouse import ClickHouseSink
from pipeline.clickhouse.migrations import check_schema, connected, migrate, plan
from pipeline.commands import _exit_codes
from pipeline.config import ClickHouseSettings, KafkaSettings, Settings
from pipeline.errors import SinkUnavailable
from pipeline.kafka.topics import create_topics, topics
from pipeline.tools.demo.embedded_broker import embedded_broker
from schemas.ddl import shipped
from tests.support.fakes.rows import columns_of, step_row
from tests.support.migration_rig import Run, command
from tests.support.store_rig import Store


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, clickhouse: Any, database: str
) -> Run:
    """Run `runstep migrate` on a database of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", database)
    return command(monkeypatch, capsys)


def test_applies_what_is_missing_and_then_nothing(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (_exit_codes.OK, "")
    assert re.search(r"^http://\S+: applied 0001_database, .*, 0014_superseded_rows$", out.strip())
    assert run()[1].endswith(": nothing to do\n")


def names_after(version: int) -> list[str]:
    return [each.name for each in shipped() if each.version > version and each.only is None]


def test_a_database_of_an_earlier_version_takes_rows_and_gets_what_is_new(clickhouse: Any, database: str) -> None:
    settings = ClickHouseSettings(url=SecretStr(clickhouse.url), database=database)
    with connected(settings) as client:
        migrate(client, settings, [each for each in shipped() if each.version <= 7])
        Store(client, settings).insert_as_before([step_row(offset) for offset in range(10)])
        assert [line.split()[0] for line in check_schema(client, database)] == [
            f"{database}.{view}" for view in ("run_step_ingest", "runs", "runs_between", "tool_calls")
        ]
        new = [applied.source for applied in migrate(client, settings)]
        assert new == names_after(7)
        assert check_schema(client, database) == []
        reader: Any = client
        reader.database = database
        assert client.query("SELECT sum(steps) FROM runs").result_rows == [(10,)]


def test_a_dry_run_prints_sql_that_makes_the_same_tables(run: Run, clickhouse: Any, database: str) -> None:
    code, out, _ = run("--dry-run")
    assert code == _exit_codes.OK
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
    assert (code, "0005_views" in out, "applied" in out, "pending" in out) == (_exit_codes.OK, True, True, False)


def test_a_status_with_an_edited_file_is_bad_news(run: Run, clickhouse: Any, database: str) -> None:
    run()
    clickhouse.query(
        f"ALTER TABLE {database}.schema_migrations UPDATE checksum = 'x' WHERE version = 2", mutations_sync="1"
    )
    code, out, _ = run("--status")
    assert (code, "edited" in out) == (_exit_codes.FINDINGS, True)
    code, _, err = run()
    assert (code, "0002_run_steps.sql is not the text" in err) == (_exit_codes.CONFIGURATION, True)


def test_findings_are_bad_news_with_their_fix(run: Run, clickhouse: Any, database: str) -> None:
    run()
    clickhouse.query(f"ALTER TABLE {database}.run_steps DROP COLUMN total_tokens")
    code, _, err = run()
    assert code == _exit_codes.FINDINGS
    assert f"ALTER TABLE {database}.run_steps ADD COLUMN total_tokens Nullable(UInt64)" in err


def test_it_does_not_advise_to_run_itself(run: Run, clickhouse: Any, database: str) -> None:
    run()
    clickhouse.query(f"DROP VIEW {database}.run_steps_mv")
    clickhouse.query(f"ALTER TABLE {database}.run_step_ingest DROP COLUMN total_tokens")
    code, _, err = run()
    assert code == _exit_codes.FINDINGS
    assert "applying 0005_views (CREATE MATERIALIZED VIEW" in err
    assert f"ALTER TABLE {database}.run_step_ingest ADD COLUMN total_tokens Nullable(UInt64)" in err
    assert "runstep migrate" not in err
    clickhouse.query(f"ALTER TABLE {database}.run_step_ingest ADD COLUMN total_tokens Nullable(UInt64)")
    assert run()[0] == _exit_codes.OK


def test_a_user_who_may_not_see_what_was_applied_is_not_shown_all_as_pending(run: Run, clickhouse_factory: Any) -> None:
    users = """<clickhouse><users><stranger><password>pw</password><networks><ip>::/0</ip></networks>
        <profile>default</profile><quota>default</quota>
        <grants><query>GRANT SELECT ON elsewhere.*</query></grants></stranger></users></clickhouse>"""
    server = clickhouse_factory(users=users)
    code, _, err = run("--status", CLICKHOUSE__URL=f"http://stranger:pw@127.0.0.1:{server.http_port}")
    assert (code, "schema_migrations TO this user" in err) == (_exit_codes.CONFIGURATION, True)


def test_the_sink_names_pending_migrations_and_sees_when_they_are_applied(
    clickhouse: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ClickHouseSettings(url=SecretStr(clickhouse.url), database=database)
    sink = ClickHouseSink(lambda: settings)
    with connected(settings) as client:
        migrate(client, settings, [each for each in shipped() if each.version <= 7])
        with capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(SinkUnavailable, match="run `runstep migrate`"):
                    sink.insert(columns_of([step_row(0)]), "pending-0")
        names = names_after(7)
        assert sink.pending_migrations == names
        assert [line["pending"] for line in logs if line["event"] == "migrations_pending"] == [names]
        migrate(client, settings)
    monkeypatch.setattr("pipeline.clickhouse.sink.LOOK_INTERVAL_S", 0)
    sink.insert(columns_of([step_row(0)]), "pending-0")
    assert sink.pending_migrations == []
    sink.close()


def test_the_retention_of_the_settings_is_set(run: Run, clickhouse: Any, database: str) -> None:
    run()
    assert run(CLICKHOUSE__RETENTION_DAYS="90")[1].endswith("applied retention\n")
    assert "toIntervalDay(90)" in clickhouse.query(f"SHOW CREATE TABLE {database}.run_steps")
    assert run(CLICKHOUSE__RETENTION_DAYS="90")[1].endswith("nothing to do\n")


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        pytest.param(
            {"CLICKHOUSE__URL": "http://127.0.0.1:1"}, _exit_codes.UNAVAILABLE, "127.0.0.1:1", id="server away"
        ),
        pytest.param({"CLICKHOUSE__USERNAME": "nobody"}, _exit_codes.CONFIGURATION, "516", id="unknown user"),
        pytest.param(
            {"CLICKHOUSE__DATABASE": "a'b"}, _exit_codes.CONFIGURATION, "clickhouse.database", id="no identifier"
        ),
        pytest.param({"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, _exit_codes.UNAVAILABLE, "Kafka at", id="Kafka away"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, environment: dict[str, str], code: int, words: str) -> None:
    given, out, err = run("--topics", **{"KAFKA__BOOTSTRAP_TIMEOUT": "0.5", **environment})
    assert (given, words in err, "Traceback" in out + err) == (code, True, False)
    assert len(err.strip().splitlines()) == 1


def test_options_that_exclude_each_other_are_wrong_usage(run: Run) -> None:
    assert run("--dry-run", "--status")[0] == _exit_codes.USAGE
    assert run("--topics", "--partitions", "0")[0] == _exit_codes.USAGE


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
    applied = [each.name for each in shipped() if each.only is None]
    names = clickhouse.query(f"SELECT name FROM {database}.schema_migrations FINAL ORDER BY name")  # noqa: S608 - a fixture's name
    assert names.split() == applied


@pytest.fixture
def kafka_settings(kafka: Any) -> Settings:
    name = f"migrate-{uuid.uuid4().hex[:8]}"
    return Settings(kafka=KafkaSettings(bootstrap_servers=(kafka.bootstrap,), topics=(f"{name}-a", f"{name}-b")))


def test_topics_are_made_once_with_the_dead_letter_topic(kafka_settings: Settings) -> None:
    a, b = kafka_settings.kafka.topics
    assert [topic.state for topic in topics(kafka_settings)] == ["missing"] * 3
    made = create_topics(kafka_settings, partitions=3, replication_factor=1)
    assert made == [(a, "created", 3), (b, "created", 3), (f"{a}.dlq", "created", 1)]
    assert create_topics(kafka_settings, partitions=5) == [topic._replace(state="present") for topic in made]


def test_the_embedded_broker_takes_the_same_call() -> None:
    with embedded_broker() as bootstrap:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=(bootstrap,)))
        made = create_topics(settings, partitions=4)
        own_default = 3
        assert made == [("run-steps", "created", 4), ("run-steps.dlq", "created", own_default)]
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
    assert (code, "--replication-factor" in err) == (_exit_codes.CONFIGURATION, True)
