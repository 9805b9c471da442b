"""`runstep doctor` on a real ClickHouse: what keeps rows from being stored, or from being stored once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.check_rig import migrated
from tests.support.doctor_rig import Doctor, forget_the_rest
from tests.support.migration_rig import ENVIRONMENT, PASSWORDS, USERS


@pytest.fixture(autouse=True)
def _only_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_rest(tmp_path, monkeypatch)


class TestClickHouse:
    """What keeps rows from being stored, or from being stored once."""

    def test_a_table_that_does_not_recognize_a_repeated_insert_16(
        self, environ: dict[str, str], clickhouse: ClickHouseAddress, doctor: Doctor
    ) -> None:
        table = f"{environ['RUNSTEP_CLICKHOUSE__DATABASE']}.run_step_ledger"
        clickhouse.query(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0")
        answer = doctor()
        assert (answer.code, answer.cause) == (1, "tables")
        (finding,) = answer.about("tables")
        assert f"{table} does not recognize" in finding
        assert "MODIFY SETTING non_replicated_deduplication_window = 1000" in finding

    def test_views_in_the_wrong_order_and_one_that_is_not_ours(
        self, environ: dict[str, str], clickhouse: ClickHouseAddress, doctor: Doctor
    ) -> None:
        database = environ["RUNSTEP_CLICKHOUSE__DATABASE"]
        made = clickhouse.query(f"SHOW CREATE TABLE {database}.run_steps_mv FORMAT TSVRaw")
        # The server notes whole seconds.
        clickhouse.query("SELECT sleep(1.1)")
        clickhouse.query(f"DROP VIEW {database}.run_steps_mv")
        clickhouse.query(made)
        clickhouse.query(f"CREATE TABLE {database}.few (step_id String) ENGINE = Memory")
        source = f"{database}.run_step_ingest"
        clickhouse.query(f"CREATE MATERIALIZED VIEW {database}.extra TO {database}.few AS SELECT step_id FROM {source}")  # noqa: S608 - as above
        answer = doctor()
        assert answer.code == 0
        assert "the ledger's view commits before the steps' one" in answer.about("order of the views", "warning")[0]
        assert f"{database}.extra is fed by run_step_ingest too" in answer.about("views", "warning")[0]

    def test_a_view_that_writes_another_table(
        self, environ: dict[str, str], clickhouse: ClickHouseAddress, doctor: Doctor
    ) -> None:
        database = environ["RUNSTEP_CLICKHOUSE__DATABASE"]
        view = f"{database}.run_steps_mv"
        made = clickhouse.query(f"SHOW CREATE TABLE {view} FORMAT TSVRaw")
        clickhouse.query(f"CREATE TABLE {database}.other AS {database}.run_steps")
        clickhouse.query(f"DROP VIEW {view} SYNC")
        clickhouse.query(made.replace(f"TO {database}.run_steps", f"TO {database}.other"))
        answer = doctor()
        assert answer.code == 1
        (finding,) = answer.about("views", "bad")
        fix = f"run `DROP VIEW {view} SYNC`, then `runstep migrate`"
        assert finding == f"view {view} does not write to {database}.run_steps -> {fix}"

    def test_too_many_parts_23(self, environ: dict[str, str], clickhouse: ClickHouseAddress, doctor: Doctor) -> None:
        table = f"{environ['RUNSTEP_CLICKHOUSE__DATABASE']}.run_step_ledger"
        clickhouse.query(f"SYSTEM STOP MERGES {table}")
        for offset in range(3):
            clickhouse.query(f"INSERT INTO {table} (kafka_offset) VALUES ({offset})")  # noqa: S608 - a test's own
        clickhouse.query(f"ALTER TABLE {table} MODIFY SETTING parts_to_delay_insert = 2, parts_to_throw_insert = 4")
        answer = doctor()
        assert answer.code == 0
        assert answer.about(f"parts {table}", "warning")[0].startswith("3 in its fullest partition; slow from 2 on")
        clickhouse.query(f"ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 3")
        answer = doctor()
        assert (answer.code, answer.cause) == (1, f"parts {table}")

    def test_a_mutation_that_fails(
        self, environ: dict[str, str], clickhouse: ClickHouseAddress, doctor: Doctor
    ) -> None:
        table = f"{environ['RUNSTEP_CLICKHOUSE__DATABASE']}.run_step_ledger"
        clickhouse.query(f"INSERT INTO {table} (kafka_offset) VALUES (1)")  # noqa: S608 - a test's own
        clickhouse.query(
            f"ALTER TABLE {table} UPDATE reason = toString(throwIf(kafka_offset = 1)) WHERE 1", mutations_sync="0"
        )
        failed = "SELECT count() FROM system.mutations WHERE latest_fail_reason != '' AND database = '{}'"
        while clickhouse.query(failed.format(environ["RUNSTEP_CLICKHOUSE__DATABASE"])) == "0\n":
            pass
        (finding,) = doctor().about("mutation run_step_ledger", "warning")
        assert "KILL MUTATION" in finding

    def test_a_wrong_password(self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, doctor: Doctor) -> None:
        host = environ["RUNSTEP_CLICKHOUSE__URL"].rpartition("@")[2].removeprefix("http://")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://nobody:unspeakable@{host}")
        answer = doctor()
        assert (answer.code, answer.cause) == (1, f"clickhouse http://{host}")
        (finding,) = answer.about("clickhouse", "bad")
        assert finding.endswith("-> check clickhouse.username and clickhouse.password")
        assert "unspeakable" not in str(answer.checks)

    def test_an_embedded_clickhouse(
        self, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
    ) -> None:
        url = f"chdb:{tmp_path / 'data'}"
        migrated(url, "runsteps")
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", url)
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "runsteps")
        answer = doctor()
        assert (answer.code, answer.bad) == (0, [])
        assert answer.about("insert settings", "ok")
        assert environ


PROFILES = """
<fixed><async_insert>1</async_insert><constraints><async_insert><const/></async_insert></constraints></fixed>
<bounded><constraints><max_partitions_per_insert_block><min>1</min></max_partitions_per_insert_block></constraints>
</bounded>
"""
USER = """<{name}><password/><networks><ip>::/0</ip></networks><profile>{profile}</profile><quota>default</quota>
<grants><query>GRANT INSERT ON runsteps.run_step_ingest</query><query>GRANT SELECT ON runsteps.run_step_ledger</query>
{more}</grants></{name}>"""
SEES = "<query>GRANT SHOW TABLES, SHOW COLUMNS ON runsteps.*</query>"


class TestUsers:
    """What the doctor can tell with the rights of the daemon's user."""

    @pytest.fixture
    def as_user(
        self,
        environ: dict[str, str],
        clickhouse_factory: Callable[..., ClickHouseServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[[str], None]:
        """Become a user of a server that has the users of deploy/, and some with less or with a strange profile."""
        assert environ
        made = [("bare", "default", ""), ("fixed", "fixed", SEES), ("bounded", "bounded", SEES)]
        users = "".join(USER.format(name=name, profile=profile, more=more) for name, profile, more in made)
        text = USERS.read_text().replace("</users>", f"{users}</users>").replace("<profiles>", f"<profiles>{PROFILES}")
        server = clickhouse_factory(users=text, environment=ENVIRONMENT)
        migrated(server.url, "runsteps")

        def become(user: str) -> None:
            monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", f"http://{user}@127.0.0.1:{server.http_port}")
            monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", "runsteps")

        return become

    def test_the_writer_of_deploy_can_tell_all_but_the_users(
        self, as_user: Callable[[str], None], doctor: Doctor
    ) -> None:
        as_user(f"runstep_writer:{PASSWORDS['writer']}")
        answer = doctor()
        assert (answer.code, answer.bad) == (0, [])
        untold = [check for check in answer.warnings if check["detail"].startswith("unknown")]
        assert [check["subject"] for check in untold] == ["definer of the views"]

    def test_what_a_user_may_not_see_is_said_with_the_grant_it_takes(
        self, as_user: Callable[[str], None], doctor: Doctor
    ) -> None:
        as_user("bare")
        answer = doctor()
        assert not answer.about("insert settings", "bad")
        (finding,) = answer.about("deduplication", "warning")
        assert finding.startswith("unknown whether runsteps.run_steps recognizes")
        assert "GRANT SHOW TABLES" in finding
        for name in ("disks", "parts", "mutations", "replicas", "metrics"):
            assert any(f"GRANT SELECT ON system.{name} TO this user" in text for text in answer.about("")), name

    @pytest.mark.parametrize(
        ("user", "named"), [("fixed", "async_insert"), ("bounded", "max_partitions_per_insert_block")]
    )
    def test_a_profile_that_forbids_our_settings_21(
        self, as_user: Callable[[str], None], doctor: Doctor, user: str, named: str
    ) -> None:
        as_user(user)
        answer = doctor()
        assert (answer.code, answer.cause) == (1, "insert settings")
        assert named in answer.about("insert settings", "bad")[0]
