"""OAUTHBEARER by an issuer of tokens, over TLS, on a real broker: one token for all, renewed ahead of time, kept."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from pydantic import SecretStr
from structlog.testing import capture_logs

from pipeline.config import KafkaSettings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.kafka.oauth import Token, issuer
from pipeline.kafka.source.consumer import Inbox, make_consumer
from tests.servers.kafka import KafkaServer
from tests.servers.tls import Certificates
from tests.support.token_issuer import TokenIssuer

SECRET = "s3cret/+~&"  # noqa: S105 - of this test


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def tokens(certificates: Certificates) -> Iterator[TokenIssuer]:
    issuer.cache_clear()
    with TokenIssuer(certificates) as server:
        yield server


def settings(tokens: TokenIssuer, certificates: Certificates, **given: Any) -> KafkaSettings:
    values: dict[str, Any] = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_url": tokens.url,
        "sasl_oauth_client_id": "run step",
        "sasl_oauth_client_secret": SecretStr(SECRET),
        "sasl_oauth_ca_file": certificates.ca_file,
        "bootstrap_timeout": 20,
    }
    return KafkaSettings(**(values | given))


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_logs_in_with_a_token_of_the_issuer_and_asks_it_once(
    tokens: TokenIssuer, certificates: Certificates
) -> None:
    with KafkaServer(secure=True) as server:
        chosen = settings(
            tokens,
            certificates,
            bootstrap_servers=(server.addresses["SASL"],),
            sasl_oauth_scope="kafka read",
            sasl_oauth_extensions=("logicalCluster=lkc-1", "identityPoolId=pool=2"),
        )
        for client_class in (KafkaAdminClient, KafkaConsumer):
            connect(client_class, **client_options(chosen)).close()
    login = "run%20step:s3cret%2F%2B~%26"
    assert tokens.asked == [(login, {"grant_type": "client_credentials", "scope": "kafka read"})]
    assert Token(chosen).extensions() == {"logicalCluster": "lkc-1", "identityPoolId": "pool=2"}


def test_extensions_go_with_a_token_of_any_origin() -> None:
    given = {"sasl_oauth_token": SecretStr("t"), "sasl_oauth_extensions": ("logicalCluster=lkc-1",)}
    options = client_options(KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", **given))
    assert options["sasl_oauth_token_provider"].extensions() == {"logicalCluster": "lkc-1"}
    assert options["sasl_oauth_token_provider"].token() == "t"


def test_a_token_is_renewed_before_it_expires_and_no_login_waits_for_that(
    tokens: TokenIssuer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.oauth.RENEWED_AFTER", 0.0)
    provider = Token(settings(tokens, certificates))
    tokens.answer = tokens.giving("first")
    first = provider.token()
    monkeypatch.setattr("pipeline.kafka.oauth.RENEWED_AFTER", 0.8)
    tokens.answer = tokens.giving("second")
    assert provider.token() == first
    until(lambda: provider.token() != first)
    second = provider.token()
    assert (provider.token(), len(tokens.asked)) == (second, 2)


def test_the_old_token_is_kept_while_the_issuer_is_away_and_another_client_begins(
    tokens: TokenIssuer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.oauth.RENEWED_AFTER", 0.0)
    chosen = settings(tokens, certificates)
    first = Token(chosen).token()
    tokens.saying(503, b"")
    with capture_logs() as logs:
        assert Token(chosen).token() == first
        until(lambda: any(entry["event"] == "oauth_token_kept" for entry in logs))
        # It is not asked at each login meanwhile.
        assert [Token(chosen).token() for _ in range(20)] == [first] * 20
    assert len(tokens.asked) == 2
    (kept,) = [entry for entry in logs if entry["event"] == "oauth_token_kept"]
    assert kept["cause"] == f"token issuer {tokens.url} answers HTTP 503"


def test_an_expired_token_is_not_used(tokens: TokenIssuer, certificates: Certificates) -> None:
    provider = Token(settings(tokens, certificates))
    tokens.answer = tokens.giving("first", lifetime=0.0)
    first = provider.token()
    tokens.answer = tokens.giving("second")
    assert provider.token() != first
    assert len(tokens.asked) == 2


def test_without_a_lifetime_the_token_s_own_end_counts(tokens: TokenIssuer, certificates: Certificates) -> None:
    tokens.answer = tokens.giving("first", lifetime=3_600, expires_in=None)
    provider = Token(settings(tokens, certificates))
    assert provider.token() == provider.token()
    assert len(tokens.asked) == 1
    assert 3_000 < provider._issuer._issued.expires_at - time.monotonic() <= 3_600  # type: ignore[union-attr]  # it has one


REFUSED = json.dumps({"error": "invalid_client", "error_description": "no such client"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (401, REFUSED, {}, "answers HTTP 401: invalid_client: no such client"),
        (500, b"<html>", {}, "answers HTTP 500"),
        (302, b"", {"Location": "https://127.0.0.1:1/elsewhere"}, "answers HTTP 302"),
        (200, b"not json", {}, "answers without a token"),
        (200, b"[]", {}, "answers without a token"),
        (200, b'{"access_token": 7}', {}, "answers without a token"),
        (200, b'{"access_token": "a\\u0001b"}', {}, "answers without a token"),
    ],
)
def test_an_issuer_that_gives_no_token_is_named_without_the_secret(
    tokens: TokenIssuer, certificates: Certificates, status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    tokens.saying(status, body, **headers)
    with pytest.raises(SourceUnavailable) as refusal:
        Token(settings(tokens, certificates)).token()
    assert str(refusal.value).startswith(f"token issuer {tokens.url} {said}")
    assert SECRET not in str(refusal.value)


def test_an_issuer_whose_authority_is_unknown_gets_no_secret(tokens: TokenIssuer, certificates: Certificates) -> None:
    with pytest.raises(SourceUnavailable, match=r"does not answer: .*certificate verify failed"):
        Token(settings(tokens, certificates, sasl_oauth_ca_file=None)).token()
    assert tokens.asked == []


def test_an_issuer_that_is_away_is_the_cause_that_the_daemon_names() -> None:
    issuer.cache_clear()
    with KafkaServer(secure=True) as server:
        away = KafkaSettings(
            bootstrap_servers=(server.addresses["SASL"],),
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_url="https://127.0.0.1:1/token",  # noqa: S106 - no password
            sasl_oauth_client_id="me",
            sasl_oauth_client_secret=SecretStr(SECRET),
            bootstrap_timeout=5,
        )
        with pytest.raises(SourceUnavailable) as refusal:
            connect(KafkaConsumer, **client_options(away))
    assert "token issuer https://127.0.0.1:1/token does not answer: " in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_the_rack_of_the_settings_goes_with_each_fetch(kafka: Any) -> None:
    chosen = KafkaSettings(bootstrap_servers=(kafka.bootstrap,), client_rack="zone-b")
    consumer = make_consumer(chosen, 100, 1_000_000, Inbox())
    try:
        assert consumer.config["client_rack"] == "zone-b"
        assert consumer._fetcher.config["client_rack"] == "zone-b"
    finally:
        consumer.close(autocommit=False, timeout_ms=0)
