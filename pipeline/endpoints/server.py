"""The HTTP server: one short-lived thread for each request, and a limit on all that a client can do to it.

One request a connection. Whatever a client does (sends nothing, sends slowly, does not read), its connection is ended
after `connection_timeout`. When all places are taken the oldest connection is ended, so that clients who hold theirs
cannot shut out Prometheus. TLS handshakes happen in the request's thread, never in the one that accepts.
"""

import math
import re
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from pipeline.config import HttpSettings
from pipeline.endpoints.listening import Tls, listen, tls
from pipeline.endpoints.pages import Health, Pages, Response, text

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may do to the server.

    Attributes:
        connection_timeout: seconds from accept to the last byte; Prometheus gives up after 10 by default.
        max_open: connections at once; a few scrapers and probes need two or three.
        max_ending: more connections, ended but whose threads are still at work, before new ones are refused.
        check_interval: seconds between checks for overdue connections.
        close_timeout: seconds that `close` waits for answers under way, and again for the threads it then ends.
        report_interval: seconds between log lines about refused connections.
    """

    connection_timeout: float = 10.0
    max_open: int = 16
    max_ending: int = 16
    check_interval: float = 0.25
    close_timeout: float = 1.0
    report_interval: float = 60.0


DEFAULT_LIMITS: Final = ServerLimits()


class Endpoints:
    """The endpoints, listening from `start` to `close`. Runs in threads of its own; may be used from any."""

    def __init__(
        self,
        settings: HttpSettings,
        registry: CollectorRegistry,
        health: Health,
        limits: ServerLimits = DEFAULT_LIMITS,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._pages = Pages(registry, health)
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen and serve.

        Raises:
            ConfigError: the address cannot be listened on, or the TLS files cannot be used.
        """
        secured = tls(self._settings)
        self._server = _Server(listen(self._settings.bind), secured, self._pages, self._limits)
        threading.Thread(
            target=self._server.serve_forever, args=(self._limits.check_interval,), name="runstep-http", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening and end all connections; may be called twice, and without `start`."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            # An answer that is under way may be the last scrape.
            server.wait_until_idle(self._limits.close_timeout)
            server.server_close()
            server.wait_until_idle(self._limits.close_timeout)

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port that are listened on, the real port where 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the endpoints are not started")
        host, port = self._server.socket.getsockname()[:2]
        return (host, port)

    @property
    def place(self) -> str:
        """Return the address as `host:port`; an IPv6 host is in brackets."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(ThreadingHTTPServer):
    """Accepts connections and knows which are open. Each is served in a thread of its own, all else is in one."""

    def __init__(self, listening: socket.socket, secured: Tls | None, pages: Pages, limits: ServerLimits) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.pages = pages
        self._tls = secured
        self._limits = limits
        self._lock = threading.Condition()
        self._open: dict[socket.socket, float] = {}
        self._ended: set[socket.socket] = set()
        self._refused = 0
        self._reported_at = -math.inf

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; what the client has to do for TLS is left to the request's thread."""
        try:
            connection, peer = self.socket.accept()
        except OSError:
            time.sleep(self._limits.check_interval)  # out of file descriptors: it would fail at once, again and again
            raise
        connection.settimeout(self._limits.connection_timeout)
        if self._tls is not None:
            try:
                connection = self._tls.wrap(connection)
            except OSError:  # the client is gone already
                connection.close()
                raise
        return connection, peer

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or refuse it."""
        if self._place(request):
            super().process_request(request, client_address)
        else:
            self._refused += 1
            self._report_refused()
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, then close it: its file descriptor may be another's right after."""
        self._forget(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End overdue connections. Called by `serve_forever` after each request, and every `check_interval`."""
        overdue = time.monotonic() - self._limits.connection_timeout
        with self._lock:
            for connection in [connection for connection, since in self._open.items() if since < overdue]:
                self._end(connection)

    def server_close(self) -> None:
        """Close the listening socket and end every connection."""
        super().server_close()
        with self._lock:
            for connection in list(self._open):
                self._end(connection)

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until no thread serves a connection, at most `timeout` seconds; return whether it is so."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._open and not self._ended, timeout)

    def misdirected(self, host: str | None) -> bool:
        """Whether a request on the loopback interface is for a name of somebody else, so from a page in a browser.

        A name that a page has made lead here would let the page read the answer. A certificate keeps that out, too.
        """
        if self._tls is not None or not ip_address(self.socket.getsockname()[0]).is_loopback:
            return False
        return host is not None and not _is_local(host)

    def _report_refused(self) -> None:
        now = time.monotonic()
        if now - self._reported_at >= self._limits.report_interval:
            limit = self._limits.max_open + self._limits.max_ending
            log.warning(
                "http_overloaded",
                message="connections were refused: all threads are busy",
                threads=limit,
                refused=self._refused,
            )
            self._reported_at, self._refused = now, 0

    def _place(self, connection: socket.socket) -> bool:
        with self._lock:
            if len(self._open) + len(self._ended) >= self._limits.max_open + self._limits.max_ending:
                return False
            if len(self._open) >= self._limits.max_open:
                self._end(next(iter(self._open)))
            self._open[connection] = time.monotonic()
            return True

    def _end(self, connection: socket.socket) -> None:
        """Let the thread of a connection find it closed, in whatever call it waits. The lock must be held."""
        del self._open[connection]
        self._ended.add(connection)
        with suppress(OSError):
            # SSLSocket.shutdown would drop the encryption first, and the thread could still write.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._ended.discard(connection)
            self._lock.notify_all()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the handshake, then read and answer the request."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Log a bug; a client that left or speaks no TLS is logged for debugging only."""
        error = sys.exception()
        if isinstance(error, OSError):
            log.debug("http_connection_failed", peer=str(client_address), cause=str(error))
        else:
            log.error("http_request_failed", message="a bug in the HTTP server", exc_info=error)


def _is_local(host: str) -> bool:
    """Whether the host of a request, with or without a port, is an address or `localhost`."""
    name = re.sub(r":\d*$", "", host.strip().lower()).strip("[].")
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True


class _Handler(BaseHTTPRequestHandler):
    """One request; GET and HEAD only."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a line that cannot be read; with 0.9 the answer would have no status
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page."""
        if self.server.misdirected(self.headers.get("Host")):
            hint = "On the loopback interface only localhost and addresses are answered, not other names of this host."
            self._send(text(HTTPStatus.MISDIRECTED_REQUEST, hint))
            return
        self._send(self.server.pages.answer(self.path, self.headers))

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what the base class refuses, without its HTML and without quoting the request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # a method without do_*
            refusal = text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are possible here.")
            self._send(Response(refusal.status, refusal.body, headers=(("Allow", "GET, HEAD"),)))
        else:
            self._send(text(HTTPStatus(code), HTTPStatus(code).phrase))

    def _send(self, answer: Response) -> None:
        self.close_connection = True
        self.log_request(answer.status)
        # send_response would add a Server header with the versions of Python and its library.
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log a request, for debugging only: probes and scrapes come all the time."""
        log.debug("http_request", peer=self.address_string(), request=format % args)
