"""`runstep check --live` on real servers: what is there, what is missing, what is forbidden, each with its fix."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from pipeline.cli import execute
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.check_rig import migrated
from tests.support.paths import DEPLOY

USERS = DEPLOY / "clickhouse" / "users.xml"


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in a directory without runstep.toml, and do not wait long for what is away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "3")


def checked(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the check; return its exit code, and what it says by subject."""
    capsys.readouterr()
    code = execute(["check", "--live", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is (code == 0)
    return code, {finding["subject"]: finding for finding in answer["checks"]}


def test_everything_is_there(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = checked(capsys)
    assert code == 0, [finding for finding in findings.values() if not finding["ok"]]
    topic, dead_letters = environ["RUNSTEP_KAFKA__TOPICS"], environ["RUNSTEP_DEAD_LETTER__TOPIC"]
    assert findings[f"topic {topic}"]["detail"] == "3 partitions"
    assert findings[f"reading {topic}"]["detail"].startswith("allowed; 0 offsets")
    assert findings[f"topic {dead_letters}"]["ok"]
    assert findings[f"group {environ['RUNSTEP_KAFKA__GROUP_ID']}"]["detail"] == "has no members"
    assert findings["tables"]["detail"] == "all tables and views are as shipped"
    assert findings["grant INSERT"]["ok"]
    assert findings["grant SELECT"]["ok"]
    assert execute(["check", "--live"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "ok   kafka" in printed.out
    assert "checks passed" in printed.out


def test_missing_topics_are_named_with_their_fix(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", f"{environ['RUNSTEP_KAFKA__TOPICS']},nowhere")
    monkeypatch.setenv("RUNSTEP_DEAD_LETTER__TOPIC", "nowhere.dlq")
    code, findings = checked(capsys)
    assert code == 1
    for subject in ("topic nowhere", "topic nowhere.dlq"):
        assert "does not exist" in findings[subject]["detail"]
        assert "runstep migrate --topics" in findings[subject]["fix"]
    assert findings[f"reading {environ['RUNSTEP_KAFKA__TOPICS']}"]["ok"]
    assert findings["tables"]["ok"]


def test_a_group_that_shares_partitions_otherwise(
    environ: dict[str, str], kafka: KafkaAddress, capsys: pytest.CaptureFixture[str]
) -> None:
    group = environ["RUNSTEP_KAFKA__GROUP_ID"]
    consumer = KafkaConsumer(environ["RUNSTEP_KAFKA__TOPICS"], bootstrap_servers=kafka.bootstrap, group_id=group)
    try:
        while not consumer.assignment():
            consumer.poll(timeout_ms=200)
        code, findings = checked(capsys)
    finally:
        consumer.close(timeout_ms=2000)
    assert code == 1
    assert (
        findings[f"group {group}"]["detail"]
        == "its 1 members assign partitions by range, runstep by cooperative-sticky"
    )


def test_a_database_that_was_never_migrated(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", f"{environ['RUNSTEP_CLICKHOUSE__DATABASE']}_other")
    code, findings = checked(capsys)
    assert code == 1
    (missing,) = [finding for subject, finding in findings.items() if subject.startswith("database")]
    assert missing["fix"] == "runstep migrate"


def test_a_column_that_somebody_dropped(
    environ: dict[str, str], clickhouse: ClickHouseAddress, capsys: pytest.CaptureFixture[str]
) -> None:
    clickhouse.query(f"ALTER TABLE {environ['RUNSTEP_CLICKHOUSE__DATABASE']}.run_step_ledger DROP COLUMN reason")
    code, findings = checked(capsys)
    assert code == 1
    assert "has no column reason" in findings["tables"]["detail"]
    assert "ADD COLUMN reason" in findings["tables"]["fix"]


def test_services_that_are_away(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.3")
    code, findings = checked(capsys)
    assert code == 69
    assert "connection refused" in findings["kafka"]["detail"]
    assert findings["tables"]["ok"], "ClickHouse is looked at all the same"
    assert environ


def test_a_wrong_password_is_a_finding_not_an_outage(
    environ: dict[str, str],
    clickhouse: ClickHouseAddress,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://default:hunter2@127.0.0.1:{clickhouse.http_port}")
    code, findings = checked(capsys)
    (said,) = [finding for subject, finding in findings.items() if subject.startswith("clickhouse ")]
    assert environ
    assert code == 1
    assert "Authentication failed" in said["detail"]
    assert "hunter2" not in json.dumps(findings)


def test_an_embedded_clickhouse(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert environ
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"chdb:{tmp_path / 'data'}")
    code, findings = checked(capsys)
    assert code == 1
    assert findings[f"clickhouse chdb:{tmp_path / 'data'}"]["ok"]
    (missing,) = [finding for subject, finding in findings.items() if subject.startswith("database")]
    assert not missing["ok"]


class TestGrants:
    """A user who may read the ledger but not insert."""

    @pytest.fixture
    def server(self, clickhouse_factory: Callable[..., ClickHouseServer]) -> ClickHouseServer:
        """A server with a user whose only grant is to see the ledger."""
        users = """<clickhouse><users><looker><password>pw</password><networks><ip>::/0</ip></networks>
            <profile>default</profile><quota>default</quota>
            <grants><query>GRANT SELECT, SHOW COLUMNS, SHOW TABLES ON runsteps.*</query></grants>
            </looker>
            <reader><password>pw</password><networks><ip>::/0</ip></networks>
            <profile>default</profile><quota>default</quota>
            <grants><query>GRANT SELECT ON runsteps.run_steps_current</query>
            <query>GRANT SELECT(kafka_offset) ON runsteps.run_step_ledger</query></grants></reader>
            <nobody><password>pw</password><networks><ip>::/0</ip></networks>
            <profile>default</profile><quota>default</quota>
            <grants><query>GRANT SELECT ON elsewhere.*</query></grants></nobody>
            </users></clickhouse>"""
        return clickhouse_factory(users=users)

    def test_a_missing_grant_is_named(
        self,
        environ: dict[str, str],
        server: ClickHouseServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert environ
        migrated(server.url, "runsteps")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://looker:pw@127.0.0.1:{server.http_port}")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "runsteps")
        code, findings = checked(capsys)
        assert code == 1
        assert findings["grant SELECT"]["ok"]
        assert findings["grant INSERT"]["fix"] == "GRANT INSERT ON runsteps.run_step_ingest TO this user"

    def test_what_a_reader_may_not_see_is_not_called_missing(
        self,
        environ: dict[str, str],
        server: ClickHouseServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert environ
        migrated(server.url, "runsteps")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "runsteps")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://reader:pw@127.0.0.1:{server.http_port}")
        _, findings = checked(capsys)
        assert findings["database runsteps"]["ok"]
        tables = findings["tables"]
        assert tables["level"] == "warning"
        assert tables["detail"].startswith("unknown for run_step_ingest, run_step_ledger, ")
        assert "run_steps_current" not in tables["detail"]
        assert tables["fix"] == "GRANT SHOW TABLES, SHOW COLUMNS ON runsteps.* TO this user"
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://nobody:pw@127.0.0.1:{server.http_port}")
        _, findings = checked(capsys)
        assert findings["database runsteps"]["level"] == "warning"
        assert findings["database runsteps"]["fix"] == "GRANT SHOW TABLES ON runsteps.* TO this user"
        assert not findings["grant INSERT"]["ok"]
        assert "missing:" not in json.dumps(findings)


@pytest.fixture(scope="module")
def secure_kafka() -> Iterator[KafkaServer]:
    """A broker with SASL and ACLs, a topic and its dead letters."""
    with KafkaServer(secure=True) as server:
        admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
        admin.create_topics(["steps", "steps.dlq"], wait_for_metadata=True)
        admin.close()
        producer = KafkaProducer(bootstrap_servers=server.bootstrap)
        producer.send("steps", b"x").get(timeout=10)
        producer.close()
        yield server


class TestSecureKafka:
    """A broker with SASL and ACLs."""

    @pytest.fixture(autouse=True)
    def _as_bob(self, secure_kafka: KafkaServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Log in as a user whom only ACLs let do anything."""
        assert environ
        for name, value in {
            "BOOTSTRAP_SERVERS": secure_kafka.addresses["SASL"],
            "TOPICS": "steps",
            "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "SASL_MECHANISM": "PLAIN",
            "SASL_USERNAME": "bob",
            "SASL_PASSWORD": "bob-pw",
        }.items():
            monkeypatch.setenv(f"RUNSTEP_KAFKA__{name}", value)
        monkeypatch.delenv("RUNSTEP_DEAD_LETTER__TOPIC")

    def test_a_wrong_password_names_the_settings(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("RUNSTEP_KAFKA__SASL_PASSWORD", "hunter2")
        monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "1.5")
        code, findings = checked(capsys)
        assert code == 69
        assert "refused" in findings["kafka"]["detail"]
        assert "credentials" in findings["kafka"]["detail"]
        assert "hunter2" not in json.dumps(findings)

    def test_what_the_acls_forbid_is_named(self, secure_kafka: KafkaServer, capsys: pytest.CaptureFixture[str]) -> None:
        code, findings = checked(capsys)
        assert code == 1
        assert not findings["topic steps"]["ok"]
        assert not findings["topic steps.dlq"]["ok"]
        assert "GroupAuthorizationFailed" in findings[next(s for s in findings if s.startswith("group "))]["detail"]
        admin = KafkaAdminClient(bootstrap_servers=secure_kafka.bootstrap)
        acl = ACL(
            principal="User:bob",
            host="*",
            operation=ACLOperation.DESCRIBE,
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=ResourcePattern(ResourceType.TOPIC, "steps"),
        )
        try:
            admin.create_acls([acl])
            code, findings = checked(capsys)
        finally:
            admin.delete_acls(
                [ACLFilter("User:bob", "*", ACLOperation.ANY, ACLPermissionType.ANY, acl.resource_pattern)]
            )
            admin.close()
        assert findings["topic steps"]["ok"]
        assert findings["reading steps"]["fix"] == "grant READ on topic steps"
