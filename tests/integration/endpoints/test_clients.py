"""The HTTP endpoints and their clients: those that behave badly, and those that speak TLS."""

import http.client
import shutil
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from pipeline.errors import ConfigError
from tests.servers.tls import Certificates
from tests.support.endpoints_rig import QUICK, Written, fetch, serving, until_closed


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(autouse=True)
def quiet():
    """Keep the server's threads from writing to the stdout that pytest is swapping."""
    with capture_logs():
        yield


SMALL = replace(QUICK, max_open=4)
IMPATIENT = replace(SMALL, connection_timeout=0.4)


class TestBadClients:
    """What clients that say nothing, too little or too much can do: nothing to the others."""

    def test_a_silent_client_is_ended(self, serve):
        with socket.create_connection(serve(limits=IMPATIENT)) as client:
            assert until_closed(client) == b""

    def test_a_client_that_trickles_is_ended(self, serve):
        """Each byte comes in time for a socket's own time-out; only the whole is too slow."""
        with socket.create_connection(serve(limits=IMPATIENT)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            started = time.monotonic()
            with suppress(BrokenPipeError, ConnectionResetError):
                while time.monotonic() - started < 5:
                    client.sendall(b"x")
                    time.sleep(0.05)
            assert time.monotonic() - started < 5

    def test_a_client_that_does_not_read_is_ended(self, registry, health):
        much, asked = 50_000_000, threading.Event()

        def status():
            asked.set()
            return Written({"much": "x" * much})

        health.status = status
        with (
            serving(registry, health, IMPATIENT) as endpoints,
            socket.create_connection(endpoints.address) as client,
        ):
            client.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            assert asked.wait(5)
            assert endpoints._server is not None
            assert endpoints._server.wait_until_idle(5)
            assert len(until_closed(client)) < much

    def test_those_who_hold_their_places_give_way(self, serve):
        address = serve(limits=SMALL)
        clients = [socket.create_connection(address) for _ in range(20)]
        try:
            assert fetch(address, "/healthz")[0] == 200
        finally:
            for client in clients:
                client.close()

    def test_threads_are_bounded_when_the_daemon_itself_hangs(self, registry, health):
        at_work, go_on = [], threading.Event()

        def alive():
            at_work.append(1)
            go_on.wait(10)

        health.alive = alive
        with (
            capture_logs() as logged,
            serving(registry, health, replace(SMALL, max_ending=2)) as endpoints,
            ExitStack() as clients,
        ):
            for _ in range(15):
                client = clients.enter_context(socket.create_connection(endpoints.address))
                client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert until_closed(client) == b""
            assert len(at_work) <= 6
            # A flood of connections is no flood of log lines.
            assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["http_overloaded"]
            go_on.set()
            assert endpoints._server is not None
            assert endpoints._server.wait_until_idle(5)
            assert fetch(endpoints.address, "/healthz")[0] == 200

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1 HTTP/1.1\r\n\r\n", b"400"),
            (b"GET / HTTP/3.0\r\n\r\n", b"505"),
            (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
            (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
            (b"GET /healthz\r\n\r\n", b"200"),
            (b"GET //healthz/?x HTTP/1.0\r\n\r\n", b"200"),
        ],
    )
    def test_requests_that_are_none(self, serve, sent, status):
        address = serve()
        with socket.create_connection(address) as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(sent)
            answer = until_closed(client)
        assert answer.split(b" ")[1:2] in ([status], [])  # a reset may take the answer with it
        assert fetch(address, "/healthz")[0] == 200

    def test_a_client_that_resets_does_no_harm(self, serve):
        address = serve()
        for _ in range(5):
            client = socket.create_connection(address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            client.close()
        with capture_logs() as logs:
            assert fetch(address, "/healthz")[0] == 200
        assert {line["log_level"] for line in logs} <= {"debug"}


class TestTls:
    """HTTPS, with and without certificates of the clients."""

    @staticmethod
    def files(certificate):
        return {"cert_file": certificate.cert_file, "key_file": certificate.key_file}

    @staticmethod
    def trusting(authority, client=None):
        context = ssl.create_default_context(cafile=authority.ca_file)
        if client is not None:
            context.load_cert_chain(client.cert_file, client.key_file)
        return context

    @staticmethod
    def fetch(address, context):
        """Return the status of /healthz."""
        with closing(http.client.HTTPSConnection(address[0], address[1], timeout=5, context=context)) as connection:
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            response.read()
            return response.status

    def test_it_speaks_https(self, serve, own, theirs):
        address = serve(**self.files(own.server))
        assert self.fetch(address, self.trusting(own)) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            self.fetch(address, self.trusting(theirs))

    def test_one_file_may_hold_key_and_certificate(self, serve, own):
        assert self.fetch(serve(cert_file=own.server.bundle), self.trusting(own)) == 200

    def test_clients_that_do_not_shake_hands_stop_no_other(self, serve, own):
        """They are more than there are places, and the time-out for them is longer than the test."""
        address = serve(**self.files(own.server))
        with ExitStack() as clients:
            for sent in (b"", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01") * 8:
                clients.enter_context(socket.create_connection(address)).sendall(sent)
            assert self.fetch(address, self.trusting(own)) == 200

    def test_a_client_that_does_not_shake_hands_is_ended(self, serve, own):
        address = serve(limits=replace(QUICK, connection_timeout=0.3), **self.files(own.server))
        with socket.create_connection(address) as client:
            assert until_closed(client) == b""

    def test_a_client_needs_a_certificate_where_an_authority_is_set(self, serve, own, theirs):
        address = serve(**self.files(own.server), client_ca_file=own.ca_file)
        assert self.fetch(address, self.trusting(own, own.client)) == 200
        for client in (None, theirs.client, own.issue("former", expired=True)):
            with pytest.raises((ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)):
                self.fetch(address, self.trusting(own, client))
        assert self.fetch(address, self.trusting(own, own.client)) == 200

    def test_old_protocols_are_refused(self, serve, own):
        context = self.trusting(own)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            self.fetch(serve(**self.files(own.server)), context)

    def test_new_certificates_are_used_without_a_restart(self, serve, own, theirs, tmp_path):
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        shutil.copy(own.server.cert_file, cert)
        shutil.copy(own.server.key_file, key)
        address = serve(cert_file=cert, key_file=key)
        assert self.fetch(address, self.trusting(own)) == 200
        shutil.copy(theirs.server.cert_file, cert)  # does not fit the key: the former ones stay
        assert self.fetch(address, self.trusting(own)) == 200
        shutil.copy(theirs.server.key_file, key)
        assert self.fetch(address, self.trusting(theirs)) == 200

    def test_files_that_cannot_be_used_are_named(self, serve, own, theirs, tmp_path):
        wrong, missing = tmp_path / "wrong.pem", tmp_path / "missing.pem"
        wrong.write_text("not a certificate")
        good = self.files(own.server)
        for settings, name in (
            ({**good, "cert_file": missing}, "http.cert_file: there is no file"),
            ({**good, "key_file": missing}, "http.key_file: there is no file"),
            ({**good, "cert_file": wrong}, "http.cert_file"),
            ({**good, "key_file": theirs.server.key_file}, "http.cert_file"),
            ({**good, "client_ca_file": wrong}, "http.client_ca_file"),
            ({**good, "client_ca_file": missing}, "http.client_ca_file"),
            ({"key_file": own.server.key_file}, "http.key_file is set but http.cert_file is not"),
            ({"client_ca_file": own.ca_file}, "http.client_ca_file is set but http.cert_file is not"),
            (self.files(own.issue("secret", password="x")), "http.key_file is encrypted"),  # noqa: S106 - a test's
        ):
            with pytest.raises(ConfigError) as caught:
                serve(**settings)
            assert str(caught.value).startswith(name)
