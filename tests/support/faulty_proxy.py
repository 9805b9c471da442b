"""A proxy before ClickHouse that does to answers what networks, balancers and overloaded servers do to them.

    with FaultyProxy(clickhouse) as proxy:
        with proxy.faulty(resets, times=2):         # the next two INSERTs are stored and not answered
            ...
        with proxy.faulty(Refuses(500), share=0.01):
            ...
        proxy.most_bytes = 1_000_000                # from now on a longer request is reset in the middle

It reads requests whole, hands them on, and answers as the fault says; without one as the server does.
"""

import http.client
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.servers.addresses import ClickHouseAddress

HOP_BY_HOP: Final = frozenset({"host", "transfer-encoding", "content-length", "connection"})


class Exchange(BaseHTTPRequestHandler):
    """One request, and what can be done about it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        proxy = self.server.proxy
        body = bytearray()
        for chunk in self._chunks():
            body += chunk
            proxy.lifted.wait(len(chunk) / proxy.bytes_per_second)
            if len(body) > proxy.most_bytes:
                self.hang_up(reset=True)
                return
        self.body = bytes(body)
        is_insert = "INSERT" in self.path or b"INSERT INTO" in self.body[:200]
        fault = proxy.next_fault(is_insert=is_insert)
        # The client may have given up, or be gone.
        with suppress(OSError):
            fault(self)

    do_GET = do_POST  # noqa: N815 - as http.server calls it

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Hand the request to the server; return its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.proxy.target, timeout=120)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, self.body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer the client."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self, *, reset: bool) -> None:
        """End the client's connection without an answer."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_WR)

    def wait_for_end(self) -> None:
        """Do nothing until the fault is over."""
        self.server.proxy.over.wait()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

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


Fault: TypeAlias = Callable[[Exchange], None]


def passes(exchange: Exchange) -> None:
    """Answer as the server does."""
    exchange.reply(*exchange.forward())


def resets(exchange: Exchange) -> None:
    """Have the server do it, then reset the connection."""
    exchange.forward()
    exchange.hang_up(reset=True)


def closes(exchange: Exchange) -> None:
    """Have the server do it, then end the connection cleanly."""
    exchange.forward()
    exchange.hang_up(reset=False)


def never_confirms(exchange: Exchange) -> None:
    """Have the server do it and never answer."""
    exchange.forward()
    exchange.wait_for_end()
    exchange.hang_up(reset=True)


def does_nothing(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.wait_for_end()
    exchange.hang_up(reset=True)


def drops_settings(exchange: Exchange) -> None:
    """Hand the request on without its settings, as chproxy does."""
    asked = parse_qsl(urlsplit(exchange.path).query)
    kept = [(key, value) for key, value in asked if key in {"query", "database"} or "param_" in key]
    exchange.path = f"/?{urlencode(kept)}"
    passes(exchange)


@dataclass(frozen=True)
class Delays:
    """The server does it at once, and the answer comes later."""

    seconds: float

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.server.proxy.over.wait(self.seconds)
        exchange.reply(*answer)


@dataclass(frozen=True)
class IsOfVersion:
    """The server, which says that it is of another version; the text has to be as long as that of its own."""

    own: str
    said: str

    def __call__(self, exchange: Exchange) -> None:
        assert len(self.own) == len(self.said), (self.own, self.said)
        del exchange.headers["Accept-Encoding"]
        status, headers, body = exchange.forward()
        exchange.reply(status, headers, body.replace(self.own.encode(), self.said.encode()))


@dataclass(frozen=True)
class Refuses:
    """An answer in the server's place: that of a balancer (status alone), or of a ClickHouse (with a code)."""

    status: int
    code: int = 0
    text: str = "busy"

    def __call__(self, exchange: Exchange) -> None:
        headers = [("X-ClickHouse-Exception-Code", str(self.code))] if self.code else []
        body = f"Code: {self.code}. DB::Exception: {self.text}" if self.code else f"<html>{self.text}</html>"
        exchange.reply(self.status, headers, body.encode())


@dataclass(frozen=True)
class Claims:
    """Success in the server's place, of which nothing but the status may be true.

    Attributes:
        text: of the answer.
        written_rows: what the answer claims.
        is_done: whether the server did it.
    """

    text: str = ""
    written_rows: int | None = None
    is_done: bool = False

    def __call__(self, exchange: Exchange) -> None:
        if self.is_done:
            exchange.forward()
        headers = [("X-ClickHouse-Query-Id", "made-up"), ("X-ClickHouse-Exception-Tag", "abcdefghijklmnop")]
        if self.written_rows is not None:
            headers.append(("X-ClickHouse-Summary", f'{{"written_rows":"{self.written_rows}"}}'))
        exchange.reply(200, headers, self.text.encode())


@dataclass
class Plan:
    """Which requests a fault meets."""

    fault: Fault
    everything: bool = False
    share: float = 1.0
    times: float = float("inf")
    draw: random.Random = field(default_factory=lambda: random.Random(7))


class FaultyProxy:
    """The proxy, on threads of its own.

    Attributes:
        target: port of the server.
        url: where the daemon finds it.
        inserts: INSERTs that came.
        met: requests that the fault met.
        questions: requests that were no INSERT.
        over: set while there is no fault.
        most_bytes: the connection of a longer request is reset in the middle.
        bytes_per_second: of a request, on its way to the server.
        lifted: set once the way is no longer slow.
    """

    def __init__(self, clickhouse: ClickHouseAddress) -> None:
        self.target = clickhouse.http_port
        self.inserts = self.met = self.questions = 0
        self.over = threading.Event()
        self.over.set()
        self.most_bytes = self.bytes_per_second = float("inf")
        self.lifted = threading.Event()
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.lifted.set()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def faulty(self, fault: Fault, **which: Any) -> Iterator[None]:
        """Do this to the INSERTs that come during the block; see `Plan` for which."""
        self.begin(fault, **which)
        yield
        self.lift()

    def begin(self, fault: Fault, **which: Any) -> None:
        """Do this to requests from now on."""
        self.over.clear()
        self._plan, self.met = Plan(fault, **which), 0

    def lift(self) -> None:
        """Let everything pass, also what waits."""
        self._plan = None
        self.over.set()

    def next_fault(self, *, is_insert: bool) -> Fault:
        """Return what to do about a request that has come."""
        with self._lock:
            plan = self._plan
            self.inserts += is_insert
            self.questions += not is_insert
            if plan is None or not (is_insert or plan.everything):
                return passes
            if self.met >= plan.times or plan.draw.random() >= plan.share:
                return passes
            self.met += 1
            return plan.fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), Exchange)

    def handle_error(self, *_: Any) -> None:
        """Clients come and go as they like."""
