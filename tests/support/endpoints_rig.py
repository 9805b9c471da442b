"""What the tests of the endpoints share: a health that can be set, endpoints on a free port, a plain client."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from pipeline.config import HttpSettings
from pipeline.endpoints import Endpoints, ServerLimits
from pipeline.metrics import Metrics
from pipeline.metrics.counts import Counts, Duration

QUICK = ServerLimits(check_interval=0.02)
"""They close soon."""


class SetHealth:
    """Health as the test says; an exception is raised."""

    def __init__(self) -> None:
        self.cause: Any = None
        self.causes: Any = []
        self.state: Any = {"state": "running", "counts": {"stored": 3}}

    def alive(self) -> str | None:
        return self._tell(self.cause)

    def ready(self) -> list[str]:
        return self._tell(self.causes)

    def status(self) -> Any:
        return Written(self._tell(self.state))

    @staticmethod
    def _tell(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer


class Written(NamedTuple):
    """Any JSON as /status, such as a program writes that is not runstep."""

    state: Any

    def json_text(self) -> str:
        return json.dumps(self.state)


def registry_with_a_step() -> CollectorRegistry:
    """Return metrics that have one duration, hence one exemplar."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, (1.0, 10.0))
    metrics.publish(Counts(durations={("tool_calls", "completed"): [Duration(2.5, "run_1", "step_1")]}))
    return registry


@contextmanager
def serving(
    registry: CollectorRegistry, health: SetHealth, limits: ServerLimits = QUICK, **settings: Any
) -> Iterator[Endpoints]:
    """Run endpoints, on a free port of the loopback where the settings do not say otherwise."""
    endpoints = Endpoints(HttpSettings(**{"bind": "127.0.0.1:0", **settings}), registry, health, limits)
    with closing(endpoints):
        endpoints.start()
        yield endpoints


def fetch(address: tuple[str, int], target: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Return status, headers and body."""
    with closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def until_closed(client: socket.socket) -> bytes:
    """Return what a server sends before it closes."""
    client.settimeout(5)
    received = []
    with suppress(ConnectionResetError):
        while chunk := client.recv(65_536):
            received.append(chunk)
    return b"".join(received)
