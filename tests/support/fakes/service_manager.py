"""A stand-in for systemd: the socket that `pipeline.daemon.systemd` notifies."""

import socket
from contextlib import suppress
from typing import Self


class ServiceManager:
    """The socket that $NOTIFY_SOCKET names; a name that begins with a zero byte is in Linux's abstract namespace."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)

    def received(self) -> list[str]:
        """Return the lines that have come since the last call."""
        self._socket.settimeout(0)
        lines: list[str] = []
        with suppress(BlockingIOError):
            while True:
                lines += self._socket.recv(4096).decode().splitlines()
        return lines

    def next(self) -> list[str]:
        """Wait for one message and return its lines.

        Raises:
            TimeoutError: none came for as long as a daemon takes to start, or to end.
        """
        self._socket.settimeout(40)
        return self._socket.recv(4096).decode().splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
