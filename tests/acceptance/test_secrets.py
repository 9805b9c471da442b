"""Secrets that are rotated while the daemon runs: it waits, names the login, reads the file again, loses nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaServer
from tests.support.daemon import Daemon, running_daemon
from tests.support.oracle import WAIT, Load, Place, Truth, drained, place, repeating, summed, traffic, until
from tests.support.token_issuer import unsecured_token

QUICK: dict[str, Any] = {"batch__max_rows": 500, "retry__max_delay": 1, "http__final_scrape": 20}
FIRST, WRONG, SECOND = "hunter2-first", "hunter2-wrong", "hunter2-second"


def users(password: str) -> str:
    return (
        f"<clickhouse><users><writer><password>{password}</password>"
        "<networks><ip>::/0</ip></networks></writer></users></clickhouse>"
    )


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.chaos), 2])
def test_a_rotated_password_of_clickhouse_is_read_from_its_file(
    kafka: KafkaAddress, clickhouse_factory: Callable[..., ClickHouseServer], tmp_path: Path, workers: int
) -> None:
    server, secret = clickhouse_factory(users=users(FIRST)), tmp_path / "password"
    secret.write_text(FIRST)
    login = {"clickhouse__username": "writer", "clickhouse__password_file": secret}
    with (
        place(kafka, server.address) as there,
        Load(there, repeating(traffic(71), 71), rate=1_000) as load,
        running_daemon(*there, workers=workers, **QUICK | login) as daemon,
    ):
        process = daemon.pid
        load.go_on(1_000)
        server.users = users(SECOND)
        server.restart()
        daemon.wait_until_unready("clickhouse.password", WAIT)
        load.go_on(1_000)
        secret.write_text(WRONG)
        until(lambda: "credentials_changed" in daemon.log(1_000), daemon.log)
        secret.unlink()
        until(lambda: "settings_reload_failed" in daemon.log(1_000), daemon.log)
        daemon.wait_until_unready("clickhouse.password", WAIT)
        secret.write_text(SECOND)
        daemon.wait_until_ready()
        load.go_on(1_000)
        load.stop()
        daemon.wait_until_accounted()
        assert daemon.pid == process
        check(there, load, daemon)


class Password:
    """The password of SCRAM, which the broker changes before its users do."""

    mechanism = "SCRAM-SHA-512"
    name = "kafka__sasl_password_file"

    def begin(self, broker: KafkaServer, secret: Path) -> None:
        broker.add_scram_user("admin", FIRST)
        secret.write_text(FIRST)

    def spoil(self, broker: KafkaServer, secret: Path) -> None:
        broker.add_scram_user("admin", SECOND)

    def renew(self, secret: Path) -> None:
        secret.write_text(SECOND)


class Token:
    """A bearer token, which its issuer renews too late."""

    mechanism = "OAUTHBEARER"
    name = "kafka__sasl_oauth_token_file"

    def begin(self, broker: KafkaServer, secret: Path) -> None:
        secret.write_text(unsecured_token("admin"))

    def spoil(self, broker: KafkaServer, secret: Path) -> None:
        secret.write_text(unsecured_token("admin", lifetime=-60))

    def renew(self, secret: Path) -> None:
        secret.write_text(unsecured_token("admin"))


@pytest.mark.parametrize(
    "rotated", [Password(), pytest.param(Token(), marks=pytest.mark.chaos)], ids=["password", "token"]
)
def test_a_rotated_secret_of_kafka_is_read_from_its_file(
    kafka_factory: Callable[..., KafkaServer], clickhouse: ClickHouseAddress, tmp_path: Path, rotated: Password | Token
) -> None:
    broker, secret = kafka_factory(secure=True), tmp_path / "secret"
    rotated.begin(broker, secret)
    login = {
        "kafka__bootstrap_servers": broker.addresses["SASL"],
        "kafka__security_protocol": "SASL_PLAINTEXT",
        "kafka__sasl_mechanism": rotated.mechanism,
        rotated.name: secret,
        "kafka__bootstrap_timeout": 2,
        "kafka__request_timeout": 5,
        "dead_letter__delivery_timeout": 5,
    } | ({"kafka__sasl_username": "admin"} if isinstance(rotated, Password) else {})
    with (
        place(broker.address, clickhouse) as there,
        Load(there, repeating(traffic(72), 72), rate=1_000) as load,
        running_daemon(*there, **QUICK | login) as daemon,
    ):
        process = daemon.pid
        load.go_on(1_000)
        rotated.spoil(broker, secret)
        # Connections that are open stay so: brokers ask for the secret when one is made.
        broker.kill()
        broker.start()
        daemon.wait_until_unready("AuthenticationFailed", WAIT)
        load.go_on(1_000)
        rotated.renew(secret)
        daemon.wait_until_ready()
        load.go_on(1_000)
        load.stop()
        daemon.wait_until_accounted()
        assert daemon.pid == process
        check(there, load, daemon)


def check(there: Place, load: Load, daemon: Daemon) -> None:
    """End the daemon, and compare everything with the model; no secret was named."""
    last = drained(daemon)
    truth = Truth(there, load.produced)
    truth.check_tables()
    truth.check_dead_letters()
    assert truth.difference(summed([last])) == ""
    assert "hunter2" not in daemon.log(100_000)
