"""The options of every Kafka client, on a real broker with all its doors; and what a closed door is called."""

import base64
import gc
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pydantic import SecretStr

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.kafka.client import client_options, connect
from tests.servers.kafka import KafkaServer
from tests.servers.tls import Certificates

TIMEOUT_S = 1.5
"""Seconds to try a door that stays closed."""


# kafka-python leaves the socket of a failed handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


@pytest.fixture(autouse=True)
def _garbage_stays_here(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collect those sockets before another test begins; the log records that pytest keeps hold on to them."""
    yield
    caplog.get_records("call").clear()
    gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    """A broker with SASL and TLS listeners."""
    with KafkaServer(secure=True) as server:
        server.add_scram_user("admin", "scram-pw")
        yield server


def settings(server: KafkaServer, door: str, **given: Any) -> KafkaSettings:
    """Return settings for one of the broker's listeners."""
    protocol = {"PLAINTEXT": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "SASLS": "SASL_SSL", "TLS": "SSL", "MTLS": "SSL"}
    values: dict[str, Any] = {
        "bootstrap_servers": (server.addresses[door],),
        "security_protocol": protocol[door],
        "bootstrap_timeout": 20,
    }
    if protocol[door].endswith("SSL"):
        values["ssl_ca_file"] = server.certificates.ca_file
    return KafkaSettings(**(values | given))


def held() -> tuple[int, int]:
    """Return how many threads and file descriptors this process has."""
    gc.collect()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def token(name: str) -> str:
    """Return an unsecured JWT, which the test broker accepts."""
    claims = {"sub": name, "iat": time.time() - 60, "exp": time.time() + 3600}
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return ".".join(parts) + "."


def brokers(chosen: KafkaSettings) -> int:
    """Return how many brokers an admin client sees with these settings."""
    admin = connect(KafkaAdminClient, **client_options(chosen))
    try:
        return len(admin.describe_cluster()["brokers"])
    finally:
        admin.close()


@pytest.mark.parametrize("door", ["SASL", "SASLS"])
@pytest.mark.parametrize(
    ("mechanism", "password"), [("PLAIN", "admin-pw"), ("SCRAM-SHA-256", "scram-pw"), ("SCRAM-SHA-512", "scram-pw")]
)
def test_passwords(server: KafkaServer, door: str, mechanism: str, password: str) -> None:
    given = {"sasl_mechanism": mechanism, "sasl_username": "admin", "sasl_password": SecretStr(password)}
    assert brokers(settings(server, door, **given)) == 1


def test_a_token_file_is_read_again_at_each_login(server: KafkaServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token("admin") + "\n")
    chosen = settings(server, "SASL", sasl_mechanism="OAUTHBEARER", sasl_oauth_token_file=file)
    assert brokers(chosen) == 1
    provider = client_options(chosen)["sasl_oauth_token_provider"]
    file.write_text("renewed\n")
    assert provider.token() == "renewed"


def test_a_fixed_token(server: KafkaServer) -> None:
    given = {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token": SecretStr(token("admin"))}
    assert brokers(settings(server, "SASL", **given)) == 1


def test_tls(server: KafkaServer) -> None:
    assert brokers(settings(server, "TLS")) == 1


def test_a_client_certificate_with_an_encrypted_key(server: KafkaServer) -> None:
    client = server.certificates.issue("client", password="key-pw")  # noqa: S106 - of a file of this test
    given = {
        "ssl_cert_file": client.cert_file,
        "ssl_key_file": client.key_file,
        "ssl_key_password": SecretStr("key-pw"),
    }
    assert brokers(settings(server, "MTLS", **given)) == 1


@pytest.mark.parametrize("client_class", [KafkaConsumer, KafkaProducer, KafkaAdminClient])
def test_every_kind_of_client_takes_the_same_options(server: KafkaServer, client_class: Any) -> None:
    given = {"sasl_mechanism": "PLAIN", "sasl_username": "admin", "sasl_password": SecretStr("admin-pw")}
    connect(client_class, **client_options(settings(server, "SASLS", **given))).close()


@pytest.mark.parametrize(
    ("door", "given", "cause"),
    [
        (
            "SASL",
            {"sasl_mechanism": "PLAIN", "sasl_username": "admin", "sasl_password": SecretStr("hunter2")},
            "credentials",
        ),
        ("SASL", {"security_protocol": "PLAINTEXT"}, "protocol refused by the broker"),
        (
            "PLAINTEXT",
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "admin",
                "sasl_password": SecretStr("hunter2"),
            },
            "this port expects no SASL",
        ),
        ("PLAINTEXT", {"security_protocol": "SSL"}, "does not speak TLS"),
        ("TLS", {"ssl_ca_file": None}, "not signed by kafka.ssl_ca_file"),
        ("MTLS", {}, "refused the client certificate"),
        ("PLAINTEXT", {"bootstrap_servers": ("127.0.0.1:1",)}, "connection refused"),
        ("PLAINTEXT", {"bootstrap_servers": ("no-such-host.invalid:9092",)}, "cannot be resolved"),
    ],
)
def test_a_closed_door_is_named(server: KafkaServer, door: str, given: dict[str, Any], cause: str) -> None:
    chosen = settings(server, door, **({"bootstrap_timeout": TIMEOUT_S} | given))
    with pytest.raises(SourceUnavailable) as refusal:
        connect(KafkaConsumer, **client_options(chosen))
    assert cause in str(refusal.value)
    assert chosen.bootstrap_servers[0] in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_stranger_s_authority_is_named(server: KafkaServer, tmp_path: Path) -> None:
    chosen = settings(server, "TLS", ssl_ca_file=Certificates(tmp_path / "other").ca_file, bootstrap_timeout=TIMEOUT_S)
    with pytest.raises(SourceUnavailable, match=r"not signed by kafka\.ssl_ca_file"):
        connect(KafkaConsumer, **client_options(chosen))


@pytest.mark.parametrize("client_class", [KafkaConsumer, KafkaProducer, KafkaAdminClient])
def test_a_failed_start_leaves_no_thread_behind(client_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("kafka"), "propagate", False)
    options = client_options(KafkaSettings(bootstrap_servers=("127.0.0.1:1",), bootstrap_timeout=0.1))
    before, failures = held(), 0
    for _ in range(3):
        # Not pytest.raises, nor log records: both would keep the frames that hold sockets.
        try:
            connect(client_class, **options)
        except SourceUnavailable:
            failures += 1
    assert failures == 3
    assert held() == before


def test_options_that_the_client_refuses_are_a_matter_of_configuration() -> None:
    options = client_options(KafkaSettings()) | {"no_such_option": 1}
    with pytest.raises(ConfigError, match="no_such_option"):
        connect(KafkaConsumer, **options)
