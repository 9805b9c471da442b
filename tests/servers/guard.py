"""The guard of one server process: a detached process that ends the server, and its data, when the owner is gone.

A script for `python -I -S`, standard library only. It detaches, starts the command, prints `{"guard": PID, "server":
PID}` and then waits for the first of: the server's end, the owner's end, SIGTERM. The owner is any process, not only
the one that launched the guard, so that a server may outlive the test worker that asked for it first. `kill -9` of the
owner is seen through its pidfd; `kill -9` of the guard itself reaches the server as its parent-death signal.
"""

import argparse
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Detach, start the command, wait, clean up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--owner", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--remove", required=True, help="folder to remove once the owner is gone")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    owner = os.pidfd_open(options.owner)
    if os.fork():
        os._exit(0)
    os.setsid()
    stopping, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"x"))
    server = start(options.command, options.log)
    print(json.dumps({"guard": os.getpid(), "server": server.pid}), flush=True)
    silence()
    orphaned = watch(owner, os.pidfd_open(server.pid), stopping)
    server.kill()
    server.wait()
    if orphaned:
        shutil.rmtree(options.remove, ignore_errors=True)
    return 0


def start(command: list[str], log: str) -> "subprocess.Popen[bytes]":
    """Start the server so that the kernel kills it with this process; its output goes to the log."""
    libc = ctypes.CDLL(None)
    with open(log, "ab") as output:  # noqa: PTH123 - pathlib would double the start-up time of this script
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - one thread here
        )


def silence() -> None:
    """Let go of the launcher's pipes, which it reads to their end."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        os.dup2(null, stream.fileno())


def watch(owner: int, server: int, stopping: int) -> bool:
    """Wait for the first end; say whether it was the owner's."""
    poller = select.poll()
    for handle in (owner, server, stopping):
        poller.register(handle, select.POLLIN)
    return owner in {handle for handle, _ in poller.poll()}


if __name__ == "__main__":
    raise SystemExit(main())
