"""An HTTP proxy as companies have them: takes requests for other hosts, tunnels with CONNECT, may ask for a login."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class ForwardProxy:
    """A proxy on a free port of the loopback interface.

    Attributes:
        url: where it is, without a login.
        seen: request lines, as they came.
    """

    def __init__(self, login: str = "") -> None:
        self._authorization = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.seen: list[str] = []

    def serve(self) -> None:
        """Take connections until closed, a request each."""
        with suppress(OSError):
            while True:
                threading.Thread(target=self._handle, args=(self._socket.accept()[0],), daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _handle(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head, _, rest = _head(client)
            line, *headers = head.decode("latin-1").split("\r\n")
            self.seen.append(line)
            given = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in headers)}
            if given.get("proxy-authorization", "") != self._authorization:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, version = line.split(" ")
            place = urlsplit(f"//{target}" if method == "CONNECT" else target)
            with socket.create_connection((place.hostname or "", place.port or 80)) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    origin = place._replace(scheme="", netloc="").geturl()
                    own = [header for header in headers if not header.lower().startswith(("proxy-", "connection"))]
                    lines = [f"{method} {origin} {version}", *own, "Connection: close"]
                    server.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + rest)
                _joined(client, server)


def _head(client: socket.socket) -> tuple[bytes, bytes, bytes]:
    read = b""
    while b"\r\n\r\n" not in read:
        got = client.recv(65_536)
        if not got:
            raise OSError("closed")
        read += got
    return read.partition(b"\r\n\r\n")


def _joined(client: socket.socket, server: socket.socket) -> None:
    threading.Thread(target=_copied, args=(client, server), daemon=True).start()
    _copied(server, client)


def _copied(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


@contextmanager
def forward_proxy(login: str = "") -> Iterator[ForwardProxy]:
    """Run a proxy while the block runs; with a login it answers nobody else."""
    proxy = ForwardProxy(login)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
