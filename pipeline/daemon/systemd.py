"""What systemd is notified of: that the daemon has started, its status, that it is alive, that it ends.

Speaks systemd's notification protocol (`Type=notify`, sd_notify(3)): datagrams to the socket that $NOTIFY_SOCKET names.
Without that variable nothing happens. The daemon counts as started once its endpoints listen and its loop runs, whether
Kafka and ClickHouse are there or not, since it waits for them by itself.

WATCHDOG=1 is sent only while /healthz would say ok, so that systemd restarts a daemon that is stalled, and not one that
waits for another service.
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

LOOK_INTERVAL_S: Final = 5.0
"""Between looks at the daemon; shorter when systemd's watchdog interval is."""

_START_LOOK_INTERVAL_S: Final = 0.1
"""Between looks until the daemon has started: other units may be waiting for that."""

_STOP_MARGIN_S: Final = 20.0
"""Beyond `drain_timeout` for a commit in flight, for leaving the group, for workers that have to be killed."""

_SEND_TIMEOUT_S: Final = 1.0
"""For a datagram to find room in systemd's queue."""

_JOIN_TIMEOUT_S: Final = 3.0
"""For the last message."""

_MAX_STATUS_CHARS: Final = 500


class Notifier:
    """Notifies systemd, on a thread of its own, from `start` to `close`."""

    def __init__(self, health: Health, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        """Read from the environment what systemd wants.

        Args:
            health: the daemon, as its endpoints see it.
            settings: say how long a clean end may take.
            environ: the process's own environment.
        """
        self._health = health
        self._ending = settings.drain_timeout + settings.http.final_scrape + _STOP_MARGIN_S
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environ)
        self._interval = min(LOOK_INTERVAL_S, self._watchdog / 2 if self._watchdog else LOOK_INTERVAL_S)
        self._started = self._unreachable = False
        self._sent: set[str] = set()
        self._hint = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._notify, name="runstep-notify", daemon=True)

    def start(self) -> None:
        """Begin to notify, if $NOTIFY_SOCKET is set."""
        if self._address:
            self._thread.start()

    def hint(self) -> None:
        """Let the next look be now; from any thread."""
        self._hint.set()

    def close(self) -> None:
        """Send the last state and end; may be called without `start`."""
        self._closed = True
        self._hint.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_TIMEOUT_S)

    def look(self) -> None:
        """Look at the daemon and send what is new, and the heartbeat. Never raises."""
        try:
            status, stalled = self._health.status(), self._health.alive()
        except Exception:
            # Without a heartbeat systemd will restart the daemon.
            log.exception("status_failed", message="the status could not be read; systemd is not notified")
            return
        state = status.state
        self._started = state != "starting"
        lines = [self._once("READY=1")] if self._started else []
        if state in {"draining", "drained"}:
            lines += [self._once(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={self._ending * 1_000_000:.0f}")]
        lines += [self._once(f"STATUS={_in_words(state, status.causes)}")]
        if self._watchdog and stalled is None:
            lines += ["WATCHDOG=1"]
        self._send("\n".join(filter(None, lines)))

    def _once(self, line: str) -> str:
        """Return the line, but not twice in a row for the same variable."""
        if line in self._sent:
            return ""
        name = line.partition("=")[0]
        self._sent = {sent for sent in self._sent if sent.partition("=")[0] != name} | {line}
        return line

    def _notify(self) -> None:
        while not self._closed:
            self.look()
            self._hint.wait(self._interval if self._started else _START_LOOK_INTERVAL_S)
            self._hint.clear()
        self.look()

    def _send(self, message: str) -> None:
        if not message:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_TIMEOUT_S)
                # Connected, it sleeps while the queue is full; `sendto` would try again and again.
                sender.connect(self._address)
                sender.send(message.encode(errors="replace"))
        except OSError as error:
            self._sent.clear()
            if not self._unreachable:
                message = "systemd does not take notifications; they are sent again with the next look"
                log.warning("systemd_unreachable", message=message, cause=str(error))
            self._unreachable = True
        else:
            self._unreachable = False


def _in_words(state: str, causes: Sequence[str]) -> str:
    """Return one line; while the daemon starts or ends, its causes to wait are left out."""
    line = f"{state}: {'; '.join(causes)}" if state == "waiting" else state
    return " ".join(line.split())[:_MAX_STATUS_CHARS]


def _address(named: str) -> str:
    """Return the socket's address: a path, or a name in Linux's abstract namespace; "" when there is none."""
    if named.startswith("@"):
        return f"\0{named[1:]}"
    if named and not named.startswith("/"):
        message = "this kind of NOTIFY_SOCKET is not supported; systemd is not notified"
        log.warning("systemd_unreachable", message=message, address=named)
        return ""
    return named


def _watchdog(environ: Mapping[str, str]) -> float:
    """Return the seconds without a heartbeat after which systemd restarts this process; 0: it is not watched."""
    meant = environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if meant and microseconds.isdecimal() else 0.0
