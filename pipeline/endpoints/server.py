"""The HTTP server: one short thread for each request, and a bound on all that a client can do to it.

One request a connection. Whatever a client does (says nothing, says it slowly, does not read), its connection is ended
after `_PATIENCE`; when all places are taken the oldest connection gives way, so that clients who hold theirs cannot
shut out Prometheus. TLS handshakes happen in the request's thread, never in the one that accepts.
"""

import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from pipeline.config import HttpSettings
from pipeline.endpoints.listening import Tls, listen, tls
from pipeline.endpoints.pages import Answer, Health, Pages, text

log = structlog.get_logger(__name__)

_PATIENCE: Final = 10.0
"""Seconds from accept to the last byte; Prometheus gives up after 10 by default."""

_PLACES: Final = 16
"""Connections at once. A few scrapers and probes need two or three."""

_STUCK_PLACES: Final = 16
"""More connections, ended but whose threads are still at work, before new ones are refused."""

_TICK: Final = 0.25
"""Seconds between looks at overdue connections."""

_PARTING: Final = 1.0
"""Seconds that `close` waits for answers under way, and again for the threads of connections it then ends."""


class Endpoints:
    """The endpoints, listening from `start` to `close`. Runs in threads of its own; may be used from any."""

    def __init__(self, settings: HttpSettings, registry: CollectorRegistry, health: Health) -> None:
        self._settings = settings
        self._pages = Pages(registry, health)
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen and serve.

        Raises:
            ConfigError: the address cannot be listened on, or the TLS files cannot be used.
        """
        secured = tls(self._settings)
        self._server = _Server(listen(self._settings.bind), secured, self._pages)
        threading.Thread(target=self._server.serve_forever, args=(_TICK,), name="runstep-http", daemon=True).start()

    def close(self) -> None:
        """Stop listening and end all connections; may be called twice, and without `start`."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            # An answer that is under way may be the last scrape.
            server.wait_until_idle(_PARTING)
            server.server_close()
            server.wait_until_idle(_PARTING)

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port that are listened on, the real port where 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the endpoints are not started")
        host, port = self._server.socket.getsockname()[:2]
        return (host, port)


class _Server(ThreadingHTTPServer):
    """Accepts, and keeps the book of connections. Serving is in threads of their own, all else in one."""

    def __init__(self, listening: socket.socket, secured: Tls | None, pages: Pages) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.pages = pages
        self._tls = secured
        self._book = threading.Condition()
        self._open: dict[socket.socket, float] = {}
        self._ended: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; what the client has to do for TLS is left to the request's thread."""
        try:
            connection, peer = self.socket.accept()
        except OSError:
            time.sleep(_TICK)  # out of file descriptors: it would fail at once, again and again
            raise
        connection.settimeout(_PATIENCE)
        if self._tls is not None:
            try:
                connection = self._tls.wrap(connection)
            except OSError:  # the client is gone already
                connection.close()
                raise
        return connection, peer

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a place and a thread, or refuse it."""
        if self._place(request):
            super().process_request(request, client_address)
        else:
            log.warning("http connection refused: all threads are at work", threads=_PLACES + _STUCK_PLACES)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection. It leaves the book before: its file descriptor may be another's right after."""
        self._forget(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End overdue connections. Called by `serve_forever` after each request, and every `_TICK`."""
        overdue = time.monotonic() - _PATIENCE
        with self._book:
            for connection in [connection for connection, since in self._open.items() if since < overdue]:
                self._end(connection)

    def server_close(self) -> None:
        """Close the listening socket and end every connection."""
        super().server_close()
        with self._book:
            for connection in list(self._open):
                self._end(connection)

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until no thread serves a connection, at most `timeout` seconds; return whether it is so."""
        with self._book:
            return self._book.wait_for(lambda: not self._open and not self._ended, timeout)

    def _place(self, connection: socket.socket) -> bool:
        with self._book:
            if len(self._open) + len(self._ended) >= _PLACES + _STUCK_PLACES:
                return False
            if len(self._open) >= _PLACES:
                self._end(next(iter(self._open)))
            self._open[connection] = time.monotonic()
            return True

    def _end(self, connection: socket.socket) -> None:
        """Let the thread of a connection find it closed, in whatever call it waits. The book must be held."""
        del self._open[connection]
        self._ended.add(connection)
        with suppress(OSError):
            # SSLSocket.shutdown would drop the encryption first, and the thread could still write.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _forget(self, connection: socket.socket) -> None:
        with self._book:
            self._open.pop(connection, None)
            self._ended.discard(connection)
            self._book.notify_all()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the handshake, then read and answer the request."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Tell of a bug of ours; a client that left or speaks no TLS is not worth more than a line for debugging."""
        error = sys.exception()
        if isinstance(error, OSError):
            log.debug("http connection failed", peer=str(client_address), cause=str(error))
        else:
            log.error("http request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """One request; GET and HEAD only."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a line that cannot be read; with 0.9 the answer would have no status
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page."""
        self._send(self.server.pages.answer(self.path, self.headers))

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what the base class refuses, without its HTML and without quoting the request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # a method without do_*
            refusal = text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are possible here.")
            self._send(Answer(refusal.status, refusal.body, headers=(("Allow", "GET, HEAD"),)))
        else:
            self._send(text(HTTPStatus(code), HTTPStatus(code).phrase))

    def _send(self, answer: Answer) -> None:
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
        log.debug("http request", peer=self.address_string(), request=format % args)
