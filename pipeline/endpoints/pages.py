"""The pages of the endpoints; knows nothing of sockets.

A page never raises: if the daemon's own report of its health fails, the failure is the answer.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

from pipeline.endpoints.status import ProcessStatus

log = structlog.get_logger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"
_INDEX: Final = """\
runstep
/metrics  numbers for Prometheus (text or OpenMetrics)
/healthz  200 while the loop makes progress, else 503 and the cause; then restart the process
/readyz   200 while records are read and stored, else 503 and the causes; the process recovers by itself
/status   position, lag, buffer and last errors as JSON
"""


class Health(Protocol):
    """What the daemon knows about itself. Called by the server's threads: must not block for long."""

    def alive(self) -> str | None:
        """Return None while the loop makes progress, else why it does not."""

    def ready(self) -> list[str]:
        """Return why records are not being read and stored right now; empty while they are."""

    def status(self) -> ProcessStatus:
        """Return state, partitions, buffer, sink, last errors and counts."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response without its protocol."""

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


def text(status: HTTPStatus, *lines: str) -> Response:
    """Return a response in plain text."""
    return Response(status, "".join(f"{line}\n" for line in lines).encode(errors="replace"))


class Pages:
    """The response to each path. For any thread."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health
        self._pages: Mapping[str, Callable[[Message], Response]] = {
            "/": self._index,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status": self._status,
        }

    def answer(self, target: str, headers: Message) -> Response:
        """Return the response to a GET of `target` (path and query)."""
        path = target.partition("?")[0].rstrip("/") or "/"
        page = self._pages.get(path)
        if page is None:
            return text(HTTPStatus.NOT_FOUND, "There is no such page. There are:", *_INDEX.splitlines()[1:])
        try:
            return page(headers)
        except Exception as error:
            log.exception("endpoint_failed", message="a page could not be made", path=path)
            # The message stays in the log: it may quote what only operators of the host should read.
            return text(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"{path} failed with {type(error).__name__}; the log has the details."
            )

    def _index(self, _: Message) -> Response:
        return Response(HTTPStatus.OK, _INDEX.encode())

    def _metrics(self, headers: Message) -> Response:
        encode, content_type = _encoder(headers.get("Accept", ""))
        body = encode(self._registry)
        extra: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if _accepts_gzip(headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=5, mtime=0)
            extra += (("Content-Encoding", "gzip"),)
        return Response(HTTPStatus.OK, body, content_type, extra)

    def _healthz(self, _: Message) -> Response:
        cause = self._health.alive()
        return text(HTTPStatus.OK, "ok") if cause is None else text(HTTPStatus.SERVICE_UNAVAILABLE, cause)

    def _readyz(self, _: Message) -> Response:
        causes = self._health.ready()
        return text(HTTPStatus.SERVICE_UNAVAILABLE, *causes) if causes else text(HTTPStatus.OK, "ok")

    def _status(self, _: Message) -> Response:
        return Response(HTTPStatus.OK, self._health.status().json_text().encode(), "application/json")


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except TypeError:  # a version that is no number; the client library compares it with one
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _accepts_gzip(accept_encoding: str) -> bool:
    for offer in accept_encoding.lower().split(","):
        name, _, quality = offer.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
