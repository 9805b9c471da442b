"""What the service manager is told: that the daemon has started, how it fares, that it is alive, that it ends.

Speaks systemd's notification protocol (`Type=notify`, sd_notify(3)): datagrams to the socket that $NOTIFY_SOCKET names.
Without that variable nothing happens. The daemon counts as started once its endpoints listen and its loop runs, whether
Kafka and ClickHouse are there or not, since it waits for them by itself.

WATCHDOG=1 is sent only while /healthz would say ok, so that a daemon which is stuck is started again, and one that
waits for another service is not.
"""

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from pipeline.config import Settings
from pipeline.endpoints import Health

log = structlog.get_logger(__name__)

LOOK_INTERVAL: Final = 5.0
"""Seconds between looks at the daemon; fewer when the service manager wants to hear of it more often."""

_STARTING: Final = 0.1
"""Seconds between looks until the daemon has started: others may be waiting for that."""

_ENDING: Final = 20.0
"""Seconds beyond `drain_timeout` for a commit in flight, for leaving the group, for workers that have to be killed."""

_PATIENCE: Final = 1.0
"""Seconds for a datagram to find room in the service manager's queue."""

_PARTING: Final = 3.0
"""Seconds for the last word."""

_LONGEST_STATUS: Final = 500


class Notifier:
    """Tells the service manager, on a thread of its own, from `start` to `close`."""

    def __init__(self, health: Health, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        """Read what the service manager wants.

        Args:
            health: the daemon, as its endpoints see it.
            settings: say how long a clean end may take.
            environ: the process's own environment.
        """
        self._health = health
        self._ending = settings.drain_timeout + settings.http.final_scrape + _ENDING
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environ)
        self._interval = min(LOOK_INTERVAL, self._watchdog / 2 if self._watchdog else LOOK_INTERVAL)
        self._started = self._unheard = False
        self._said: set[str] = set()
        self._hint = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._tell, name="runstep-notify", daemon=True)

    def start(self) -> None:
        """Begin to tell, if anybody listens."""
        if self._address:
            self._thread.start()

    def hint(self) -> None:
        """Let the next look be now; from any thread."""
        self._hint.set()

    def close(self) -> None:
        """Tell the last state and end; may be called without `start`."""
        self._closed = True
        self._hint.set()
        if self._thread.is_alive():
            self._thread.join(_PARTING)

    def look(self) -> None:
        """Look at the daemon and send what is new, and the sign of life. Never raises."""
        try:
            status, stuck = self._health.status(), self._health.alive()
        except Exception:
            # Without a sign of life the service manager will start the daemon again.
            log.exception("nothing to tell the service manager")
            return
        state = status.state
        self._started = state != "starting"
        lines = [self._once("READY=1")] if self._started else []
        if state in {"draining", "drained"}:
            lines += [self._once(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={self._ending * 1_000_000:.0f}")]
        lines += [self._once(f"STATUS={_in_words(state, status.causes)}")]
        if self._watchdog and stuck is None:
            lines += ["WATCHDOG=1"]
        self._send("\n".join(filter(None, lines)))

    def _once(self, line: str) -> str:
        """Return the line, but not twice in a row for the same variable."""
        if line in self._said:
            return ""
        name = line.partition("=")[0]
        self._said = {said for said in self._said if said.partition("=")[0] != name} | {line}
        return line

    def _tell(self) -> None:
        while not self._closed:
            self.look()
            self._hint.wait(self._interval if self._started else _STARTING)
            self._hint.clear()
        self.look()

    def _send(self, message: str) -> None:
        if not message:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                # Connected, it sleeps while the queue is full; `sendto` would try again and again.
                sender.connect(self._address)
                sender.send(message.encode(errors="replace"))
        except OSError as error:
            self._said.clear()
            if not self._unheard:
                log.warning("the service manager does not hear", cause=str(error))
            self._unheard = True
        else:
            self._unheard = False


def _in_words(state: str, causes: Sequence[str]) -> str:
    """Return one line; while the daemon starts or ends, what it would otherwise wait for is not worth telling."""
    told = f"{state}: {'; '.join(causes)}" if state == "waiting" else state
    return " ".join(told.split())[:_LONGEST_STATUS]


def _address(named: str) -> str:
    """Return the socket's address: a path, or a name in Linux's abstract namespace; "" when there is none."""
    if named.startswith("@"):
        return f"\0{named[1:]}"
    if named and not named.startswith("/"):
        log.warning("this kind of NOTIFY_SOCKET is not supported; the service manager is told nothing", given=named)
        return ""
    return named


def _watchdog(environ: Mapping[str, str]) -> float:
    """Return the seconds without a sign of life after which this process is taken for stuck; 0: it is not watched."""
    meant = environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if meant and microseconds.isdecimal() else 0.0
