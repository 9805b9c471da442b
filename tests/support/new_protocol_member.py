"""A member of a consumer group that speaks the new group protocol (KIP-848), as Java clients do when told to.

kafka-python does not speak it, so the one request that it takes is written here by hand: ConsumerGroupHeartbeat, v1.
"""

import socket
import struct
import time
import uuid
from collections.abc import Sequence
from typing import Final

_HEARTBEAT: Final = 68
_VERSION: Final = 1
_JOINING_EPOCH: Final = 0
_NULL: Final = b"\x00"
_NO_TAGS: Final = b"\x00"
_DEADLINE_S: Final = 20.0


def join(bootstrap: str, group: str, topics: Sequence[str]) -> None:
    """Join a group; the broker forgets the member after the session time-out, since no more heartbeats follow."""
    deadline = time.monotonic() + _DEADLINE_S
    request = _request(group, topics)
    while (error := _error_code(_exchanged(bootstrap, request))) != 0:
        assert time.monotonic() < deadline, f"error {error}"


def _request(group: str, topics: Sequence[str]) -> bytes:
    header = struct.pack(">hhih", _HEARTBEAT, _VERSION, 1, 4) + b"java" + _NO_TAGS
    names = bytes([len(topics) + 1]) + b"".join(map(_text, topics))
    member = _text(group) + _text(str(uuid.uuid4())) + struct.pack(">i", _JOINING_EPOCH)
    # Instance, rack, rebalance time-out, topics, their pattern, assignor, partitions that are owned: none yet.
    return header + member + _NULL + _NULL + struct.pack(">i", 60_000) + names + _NULL + _NULL + b"\x01" + _NO_TAGS


def _text(value: str) -> bytes:
    return bytes([len(value) + 1]) + value.encode()


def _exchanged(bootstrap: str, request: bytes) -> bytes:
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rb") as answer:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", answer.read(4))
        return answer.read(length)


def _error_code(answer: bytes) -> int:
    # Correlation id, tags of the header, throttle time, then the code.
    return int(struct.unpack_from(">h", answer, 4 + 1 + 4)[0])
