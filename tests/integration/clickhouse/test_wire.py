"""What breaks between the daemon and a real server: its death, its silence, a reset after the work is done, TLS."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.errors import ErrorClass, SinkRefused
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.tls import Certificates, TlsProxy
from tests.support.faulty_proxy import FaultyProxy, Refuses, resets
from tests.support.oracle import until
from tests.support.sink_setup import ROWS, build, counts, failing, settings_for, visible


@pytest.fixture
def made(clickhouse: ClickHouseAddress, database: str) -> ClickHouseSettings:
    settings = settings_for(clickhouse, database)
    build(settings)
    return settings


def test_server_that_dies_and_comes_back_has_everything_once(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory()
    settings = settings_for(server.address)
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.insert(ROWS, "token")
    server.kill()
    error = failing(sink)
    assert error.error_class in {ErrorClass.TRANSIENT, ErrorClass.AMBIGUOUS}
    server.start()
    sink.insert(ROWS, "token")
    assert visible(server.address) == (10, 10)
    sink.close()


def test_server_that_does_not_answer_is_ambiguous_and_what_it_stored_is_not_doubled(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory()
    settings = settings_for(server.address, insert_timeout=1.0)
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.probe()
    # A server is asked how long it lives, in whole seconds.
    until(lambda: int(server.query("SELECT uptime()")) >= 1, "it does not get older")
    server.pause()
    error = failing(sink)
    assert error.error_class is ErrorClass.AMBIGUOUS
    assert "did not answer in time" in str(error)
    server.resume()
    sink.insert(ROWS, "token")
    assert counts(server.address) == (10, 10)
    sink.close()


@pytest.mark.parametrize(("cuts", "passes"), [(1, True), (2, False)])
def test_the_drivers_own_replay_after_a_reset_stores_once(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, cuts: int, *, passes: bool
) -> None:
    with FaultyProxy(clickhouse) as proxy, proxy.faulty(resets, times=cuts):
        way = {"url": SecretStr(proxy.url), "insert_timeout": 10.0}
        sink = ClickHouseSink(lambda: made.model_copy(update=way))
        if passes:
            sink.insert(ROWS, "token")
        else:
            assert failing(sink).error_class is ErrorClass.AMBIGUOUS
        assert (proxy.inserts, proxy.met) == (2, cuts)
        assert counts(clickhouse, made.database) == (10, 10)
        sink.insert(ROWS, "token")
        assert counts(clickhouse, made.database) == (10, 10)
        sink.close()


def test_tls_is_checked_against_our_authority_and_trouble_with_it_is_for_a_human(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, tmp_path: Path
) -> None:
    own, other = Certificates(tmp_path / "own"), Certificates(tmp_path / "other")
    with (
        TlsProxy(clickhouse.http_port, own.server, client_ca=own.ca_file) as proxy,
        # Not ClickHouse's own port: three times the server was gone right after a TLS client had spoken to it.
        FaultyProxy(clickhouse) as plain,
    ):
        right = {
            "url": SecretStr(f"https://127.0.0.1:{proxy.port}"),
            "ca_file": own.ca_file,
            "cert_file": own.client.cert_file,
            "key_file": own.client.key_file,
        }
        wrong: list[dict[str, Any]] = [
            {"ca_file": None},
            {"ca_file": other.ca_file},
            {"ca_file": tmp_path / "missing.pem"},
            {"server_host_name": "elsewhere.example"},
            {"url": SecretStr(plain.url.replace("http:", "https:"))},
        ]
        for change in wrong:
            error = failing(ClickHouseSink(partial(made.model_copy, update=right | change)))
            assert error.error_class is ErrorClass.ENVIRONMENT, (change, str(error))
        sink = ClickHouseSink(lambda: made.model_copy(update=right))
        sink.insert(ROWS, "token")
        sink.close()
    assert counts(clickhouse, made.database) == (10, 10)


def test_a_success_that_is_not_clickhouses_is_no_success(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings
) -> None:
    with FaultyProxy(clickhouse) as proxy, proxy.faulty(Refuses(200, text="back soon")):
        way = {"url": SecretStr(proxy.url), "compression": "none"}
        sink = ClickHouseSink(lambda: made.model_copy(update=way))
        error = failing(sink)
        sink.close()
    assert error.error_class is ErrorClass.AMBIGUOUS
    assert "not as ClickHouse does" in str(error)
    assert counts(clickhouse, made.database) == (0, 0)


def test_a_server_that_refuses_already_the_connection_does_not_refuse_rows(
    made: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_settings: ClickHouseSettings) -> None:
        raise SinkRefused("ClickHouse error 241 (MEMORY_LIMIT_EXCEEDED)", ErrorClass.SHAPE, 241)

    monkeypatch.setattr("pipeline.clickhouse.sink.connect", refuse)
    assert failing(ClickHouseSink(lambda: made)).error_class is ErrorClass.TRANSIENT
