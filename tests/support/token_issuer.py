"""Bearer tokens as the test broker takes them, JSON web tokens without a signature; and an issuer of such tokens."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl

from tests.servers.tls import Certificates

HOUR: Final = 3_600.0

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes]


def unsecured_token(name: str, lifetime: float = HOUR) -> str:
    """Return a token of some user that is good for so many seconds from now on; below 0 it has expired."""
    now = time.time()
    claims = {"sub": name, "iat": now - HOUR, "exp": now + lifetime}
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return ".".join(parts) + "."


class TokenIssuer:
    """An issuer by the client-credentials flow, over TLS: a real HTTP server on a thread of its own.

    Attributes:
        url: where tokens are given.
        asked: of each request the login and the form.
        answer: what it says: HTTP status, headers and a body.
    """

    def __init__(self, certificates: Certificates) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[], Answer] = self.giving("admin")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                kind, _, login = self.headers["Authorization"].partition(" ")
                assert kind == "Basic"
                issuer.asked.append((base64.b64decode(login).decode(), dict(parse_qsl(form))))
                status, headers, body = issuer.answer()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server.cert_file, certificates.server.key_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, name="token-issuer", daemon=True)

    @staticmethod
    def giving(name: str, lifetime: float = HOUR, **more: Any) -> Callable[[], Answer]:
        """Return how to answer with a new token each time."""

        def answer() -> Answer:
            token = unsecured_token(name, lifetime)
            body = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime, **more}
            return 200, {}, json.dumps({key: value for key, value in body.items() if value is not None}).encode()

        return answer

    def saying(self, status: int, body: bytes, **headers: str) -> None:
        """Answer so from now on."""
        self.answer = lambda: (status, headers, body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
