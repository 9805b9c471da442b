"""What breaks between us and a real server: its death, its silence, a reset after the work is done, TLS."""

import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
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
from tests.support.sink_setup import ROWS, build, counts, failing, serving, settings_for


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
    assert counts(server.address) == (10, 10)
    sink.close()


def test_server_that_does_not_answer_is_ambiguous_and_what_it_stored_is_not_doubled(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory()
    settings = settings_for(server.address, insert_timeout=1.0)
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.probe()
    server.pause()
    error = failing(sink)
    assert error.error_class is ErrorClass.AMBIGUOUS
    assert "did not answer in time" in str(error)
    server.resume()
    sink.insert(ROWS, "token")
    assert counts(server.address) == (10, 10)
    sink.close()


class CuttingProxy:
    """Hands everything to a server, but resets the client's connection when the answer to an INSERT is there."""

    def __init__(self, target_port: int, cuts: int) -> None:
        self._target_port, self.cuts, self.inserts = target_port, cuts, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target_port)) as server, suppress(OSError):
            state = {"insert": False}
            threading.Thread(target=self._forward, args=(client, server, state), daemon=True).start()
            while answer := server.recv(65_536):
                if state["insert"] and self.cuts:
                    self.cuts -= 1
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # Wakes the other thread: while it reads, the kernel keeps the connection open.
                    client.shutdown(socket.SHUT_RD)
                    return
                client.sendall(answer)

    def _forward(self, client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if b"INSERT INTO" in data:
                    self.inserts += 1
                    state["insert"] = True
                server.sendall(data)


@pytest.mark.parametrize(("cuts", "passes"), [(1, True), (2, False)])
def test_the_drivers_own_replay_after_a_reset_stores_once(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, cuts: int, *, passes: bool
) -> None:
    proxy = CuttingProxy(clickhouse.http_port, cuts)
    way = {"url": SecretStr(f"http://127.0.0.1:{proxy.port}"), "insert_timeout": 10.0}
    sink = ClickHouseSink(lambda: made.model_copy(update=way))
    if passes:
        sink.insert(ROWS, "token")
    else:
        assert failing(sink).error_class is ErrorClass.AMBIGUOUS
    assert proxy.inserts == 2
    assert counts(clickhouse, made.database) == (10, 10)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)
    sink.close()
    proxy.close()


def test_tls_is_checked_against_our_authority_and_trouble_with_it_is_for_a_human(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, tmp_path: Path
) -> None:
    ours, other = Certificates(tmp_path / "ours"), Certificates(tmp_path / "other")
    with (
        TlsProxy(clickhouse.http_port, ours.server, client_ca=ours.ca_file) as proxy,
        # Not ClickHouse's own port: three times the server was gone right after a TLS client had spoken to it.
        serving(MaintenancePage) as plain,
    ):
        right = {
            "url": SecretStr(f"https://127.0.0.1:{proxy.port}"),
            "ca_file": ours.ca_file,
            "cert_file": ours.client.cert_file,
            "key_file": ours.client.key_file,
        }
        wrong: list[dict[str, Any]] = [
            {"ca_file": None},
            {"ca_file": other.ca_file},
            {"ca_file": tmp_path / "missing.pem"},
            {"server_host_name": "elsewhere.example"},
            {"url": SecretStr(f"https://127.0.0.1:{plain}")},
        ]
        for change in wrong:
            error = failing(ClickHouseSink(partial(made.model_copy, update=right | change)))
            assert error.error_class is ErrorClass.ENVIRONMENT, (change, str(error))
        sink = ClickHouseSink(lambda: made.model_copy(update=right))
        sink.insert(ROWS, "token")
        sink.close()
    assert counts(clickhouse, made.database) == (10, 10)


class MaintenancePage(BaseHTTPRequestHandler):
    """A proxy that hands questions to the server, and answers INSERTs itself: 200, and a page."""

    protocol_version = "HTTP/1.1"
    server_url = ""

    def do_POST(self) -> None:
        body = b"".join(self._chunks())
        if "INSERT" in self.path or b"INSERT" in body[:200]:
            self._answer(200, b"<html>back soon</html>", {})
            return
        dropped = {"host", "transfer-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        request = urllib.request.Request(self.server_url + self.path, data=body, headers=headers)  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http
            said = {name: value for name, value in answer.headers.items() if name.startswith("X-ClickHouse")}
            self._answer(answer.status, answer.read(), said)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def test_a_success_that_is_not_clickhouses_is_no_success(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings
) -> None:
    handler = type("Handler", (MaintenancePage,), {"server_url": clickhouse.url})
    with serving(handler) as port:
        way = {"url": SecretStr(f"http://127.0.0.1:{port}"), "compression": "none"}
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
