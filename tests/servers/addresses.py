"""Where a test finds a server, whatever started it: the suite, another worker of the same run, or the user."""

import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class KafkaAddress:
    """A Kafka cluster: `bootstrap` is "host:port"."""

    bootstrap: str


class ClickHouseRefused(RuntimeError):
    """The server's own error: HTTP status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


@dataclass(frozen=True)
class ClickHouseAddress:
    """A ClickHouse server: `url` is what clients take, with user and password when they are needed."""

    url: str
    tcp_port: int = 9000

    @cached_property
    def http_port(self) -> int:
        """The port of its HTTP interface."""
        parts = urllib.parse.urlsplit(self.url)
        return parts.port or (8443 if parts.scheme == "https" else 8123)

    def query(self, sql: str, *, user: str = "", password: str = "", **settings: str) -> str:
        """Run one statement over HTTP and return the answer's text; `ClickHouseRefused` when the server says no.

        Args:
            sql: the statement, with its FORMAT.
            user: who asks; the user of the url by default.
            password: the user's.
            settings: settings of the query.
        """
        parts = urllib.parse.urlsplit(self.url)
        if not user:
            user, password = (urllib.parse.unquote(word or "") for word in (parts.username, parts.password))
        base = f"{parts.scheme}://{parts.hostname}:{self.http_port}/"
        headers = {"X-ClickHouse-User": user or "default", "X-ClickHouse-Key": password}
        request = urllib.request.Request(  # noqa: S310 - the scheme is the test's own
            f"{base}?{urllib.parse.urlencode(settings)}", data=sql.encode(), headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - same
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise ClickHouseRefused(error.code, error.read().decode().strip()) from None
