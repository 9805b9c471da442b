"""Proxies on the way to ClickHouse: those of the settings are used and named, those of the environment are not."""

from pathlib import Path

import pytest
from clickhouse_connect.driver.httpclient import HttpClient
from pydantic import SecretStr
from urllib3 import PoolManager, ProxyManager

from pipeline.cli import execute
from pipeline.clickhouse import connect
from pipeline.clickhouse.connection import _pool, _split
from pipeline.config import ClickHouseSettings
from pipeline.errors import SinkUnavailable
from tests.servers.addresses import ClickHouseAddress
from tests.support.forward_proxy import forward_proxy

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _foreign_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies as many companies put them into every pod; nothing listens there."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_proxy_of_the_environment_is_not_used(clickhouse: ClickHouseAddress) -> None:
    client = connect(ClickHouseSettings(url=SecretStr(clickhouse.url)))
    assert client.command("SELECT 1") == 1
    client.close()


@pytest.mark.parametrize("verify", [True, False])
def test_a_proxy_of_the_environment_is_not_used_for_https_either(*, verify: bool) -> None:
    settings = ClickHouseSettings(url=SecretStr("https://ch:8443"), verify=verify)
    pool = _pool(settings, _split(settings))
    assert type(pool) is PoolManager
    pool.clear()


def test_the_proxy_of_the_settings_carries_everything(clickhouse: ClickHouseAddress) -> None:
    with forward_proxy("bob:p@ss") as proxy:
        through = SecretStr(proxy.url.replace("//", "//bob:p%40ss@"))
        client = connect(ClickHouseSettings(url=SecretStr(clickhouse.url), proxy=through))
        assert isinstance(client, HttpClient)
        assert isinstance(client.http, ProxyManager)
        assert client.command("SELECT 2") == 2
        client.close()
        assert len(client.http.pools) == 0, "the connections of a client end with it"
        assert proxy.seen
        assert all(f"http://127.0.0.1:{clickhouse.http_port}/" in line for line in proxy.seen)


def test_https_goes_through_a_tunnel() -> None:
    with forward_proxy() as proxy:
        settings = ClickHouseSettings(url=SecretStr("https://127.0.0.1:9"), proxy=SecretStr(proxy.url))
        with pytest.raises(SinkUnavailable):
            connect(settings)
        assert proxy.seen[0].startswith("CONNECT 127.0.0.1:9 ")


def test_a_proxy_that_is_away_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.3")
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://ch.example:8123")
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__PROXY", "http://bob:hunter2@127.0.0.1:9")
    assert execute(["check", "--live"]) == 69
    printed = capsys.readouterr().out
    assert (
        "cannot connect to http://ch.example:8123 through the proxy http://127.0.0.1:9: connection refused" in printed
    )
    assert "correct clickhouse.url or clickhouse.proxy" in printed
    assert execute(["query", "SELECT 1"]) == 69
    assert "through the proxy http://127.0.0.1:9" in capsys.readouterr().err
    assert execute(["config"]) == 0
    shown = capsys.readouterr().out
    assert "http://bob:********@127.0.0.1:9" in shown
    assert "hunter2" not in printed + shown


def test_an_ignored_proxy_is_named_where_the_connection_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.3")
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://127.0.0.1:1")
    assert execute(["check", "--live"]) == 69
    assert "HTTPS_PROXY of the environment is not used" in capsys.readouterr().out
