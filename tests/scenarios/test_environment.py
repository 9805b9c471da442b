"""What only a human or time can fix: the daemon waits, names the cause, drops nothing, and recovers by itself."""

import pytest

from tests.servers.tls import Certificate, Certificates, TlsProxy
from tests.support.daemon import migrate
from tests.support.faulty_proxy import FaultyProxy, Refuses
from tests.support.oracle import status, until
from tests.support.scenario import SECRET, scenario

USERS = """
<clickhouse>
  <profiles><writer><readonly>{readonly}</readonly></writer></profiles>
  <users><writer><password>{password}</password><networks><ip>::/0</ip></networks><profile>writer</profile></writer></users>
</clickhouse>
"""


class RotatingProxy(TlsProxy):
    """A TLS proxy whose certificate can be replaced."""

    def show(self, certificate: Certificate) -> None:
        """Show this one to everybody who connects from now on."""
        self._context.load_cert_chain(certificate.cert_file, certificate.key_file)


def users(password=SECRET, readonly=0):
    return USERS.format(password=password, readonly=readonly)


@pytest.mark.chaos
def test_25_a_user_who_may_only_read_for_a_while(kafka, clickhouse_factory):
    server = clickhouse_factory(users=users())
    url = server.url.replace("http://", f"http://writer:{SECRET}@")

    def become(readonly):
        server.users = users(readonly=readonly)
        server.restart()

    with scenario(kafka, server.address, clickhouse__url=url) as s:
        s.load.go_on(1_000)
        with s.fault(lambda: become(1), lambda: become(0)):
            s.wait_until_unready("may write")
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge()


@pytest.mark.parametrize("code", [242, 999])
@pytest.mark.chaos
def test_25_a_replica_without_keeper(kafka, clickhouse, code):
    with FaultyProxy(clickhouse) as proxy, scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.load.go_on(1_000)
        with proxy.faulty(Refuses(500, code, "Table is in readonly mode since there is no Keeper")):
            s.wait_until_unready(str(code))
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge(written_once=True)


@pytest.mark.parametrize("table", ["run_steps", "run_step_ledger"])
@pytest.mark.chaos
def test_27_a_full_disk_stops_the_flow_and_not_the_daemon(kafka, clickhouse, table):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(1_000)
        with s.fault(
            f"ALTER TABLE {{db}}.{table} MODIFY SETTING min_free_disk_bytes_to_perform_insert = 100000000000000",
            f"ALTER TABLE {{db}}.{table} RESET SETTING min_free_disk_bytes_to_perform_insert",
        ):
            s.wait_until_unready("243")
            s.wait_until_unready("make room")
            s.load.go_on(3_000)
            # What Kafka has and the daemon does not read is visible, and no more than two batches are held.
            until(lambda: lag(s) > 1_000, s.daemon.log)
            assert status(s.daemon)["buffer"]["rows"] <= 1_500
        s.wait_until_ready()
        s.judge()


@pytest.mark.parametrize("table", ["run_step_ingest", pytest.param("run_steps", marks=pytest.mark.chaos)])
def test_28_a_table_that_is_missing_and_made_later_costs_nothing(kafka, clickhouse, table):
    away, back = f"RENAME TABLE {{db}}.{table} TO {{db}}.away", f"RENAME TABLE {{db}}.away TO {{db}}.{table}"
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(1_000)
        with s.fault(away, back):
            s.wait_until_unready(table)
            s.load.go_on(1_000)
        s.wait_until_ready()
        s.judge()


@pytest.mark.chaos
def test_30_a_password_that_changes_until_its_file_changes(kafka, clickhouse_factory, tmp_path):
    server, secret = clickhouse_factory(users=users(f"{SECRET}-first")), tmp_path / "password"
    secret.write_text(f"{SECRET}-first")

    def rotate():
        server.users = users(f"{SECRET}-second")
        server.restart()

    login = {"clickhouse__username": "writer", "clickhouse__password_file": secret}
    with scenario(kafka, server.address, **login) as s:
        s.load.go_on(1_000)
        with s.fault(rotate, lambda: secret.write_text(f"{SECRET}-second")):
            s.wait_until_unready("clickhouse.password")
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge()


def test_36_a_certificate_that_is_rotated_with_its_authority(kafka, clickhouse_factory, tmp_path):
    server = clickhouse_factory()
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.ca_file.read_bytes())
    with RotatingProxy(server.http_port, old.server) as proxy:
        way = {"clickhouse__url": f"https://127.0.0.1:{proxy.port}", "clickhouse__ca_file": trusted}
        with scenario(kafka, server.address, **way) as s:
            s.load.go_on(500)
            # A new certificate of the same authority; the restart ends the connections that know the old one.
            proxy.show(old.issue("next"))
            server.restart()
            s.load.go_on(500)
            s.wait_until_ready()
            proxy.show(new.server)
            server.restart()
            s.wait_until_unready("certificate verification failed")
            s.load.go_on(500)
            trusted.write_bytes(new.ca_file.read_bytes())
            s.wait_until_ready()
            s.judge(written_once=True)


@pytest.mark.chaos
def test_37_a_migration_while_members_write_costs_nothing(kafka, clickhouse):
    with scenario(kafka, clickhouse, rate=2_000) as s:
        s.join()
        for days in (4_000, 5_000, 0):
            s.load.go_on(1_000)
            migrate(*s.there, clickhouse__retention_days=days)
        s.load.go_on(1_000)
        s.judge()


def lag(s) -> int:
    """Return how many records wait in Kafka."""
    return sum(partition["lag"] or 0 for partition in status(s.daemon)["partitions"].values())
