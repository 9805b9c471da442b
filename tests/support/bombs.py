"""Values that are a few kilobytes in Kafka and cost a reader as much memory or time as their size allows.

Each is made of so many bytes. Found by measuring what parsing costs for each byte of JSON: audit figures and our own.
"""

from collections.abc import Callable, Mapping
from typing import Final

_STEP: Final = (
    b'{"id":"step_%d","run_id":"run_1","object":"thread.run.step","created_at":1790000000,"status":"failed",%s}'
)


def _filled(head: bytes, unit: bytes, tail: bytes, size: int) -> bytes:
    """Return head, as many units as fit, and tail."""
    return head + unit * max((size - len(head) - len(tail)) // len(unit), 1) + tail


def _step(field: bytes, unit: bytes, close: bytes, size: int) -> bytes:
    head, tail = (_STEP % (1, field + b"\x00" + close)).split(b"\x00")
    return _filled(head, unit, b"0" + tail if unit.endswith(b",") else tail, size)


def _hostile_messages(size: int) -> bytes:
    """Return a page of steps whose error messages made one fingerprint cost 0.1 s."""
    message = b"a-" * 31 + b"a."
    step = _STEP % (1, b'"last_error":{"code":"server_error","message":"%s"}' % (message * 64))
    return _filled(b'{"object":"list","data":[', step + b",", step + b"]}", min(size, 1_000 * len(step)))


def _many_keys(size: int) -> bytes:
    pairs = b",".join(b'"k%07d":"v"' % number for number in range((size - 150) // 15))
    return _STEP % (1, b'"metadata":{' + pairs + b"}")


BOMBS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "blanks": lambda size: b" " * size,
    "a page of empty objects": lambda size: _filled(b'{"object":"list","data":[', b"{},", b"{}]}", size),
    "an array of empty objects": lambda size: _filled(b"[", b"{},", b"{}]", size),
    "an array of zeros": lambda size: _filled(b"[", b"0,", b"0]", size),
    "an array of arrays": lambda size: _filled(b"[", b"[],", b"[]]", size),
    "deep arrays": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "tool calls in camel case": lambda size: _filled(
        b'{"id":"step_1","runId":"run_1","createdAt":1790000000,"stepDetails":{"type":"tool_calls","toolCalls":[',
        b"{},",
        b"{}]}}",
        size,
    ),
    "details of empty keys": lambda size: _step(
        b'"step_details":{"type":"tool_calls","tool_calls":[', b'{"":0},', b"]}", size
    ),
    "metadata of many keys": _many_keys,
    "unknown fields": lambda size: _step(b'"unknown":[', b"{},", b"]", size),
    "one long text": lambda size: _step(b'"last_error":{"code":"server_error","message":"', b"x", b'"}', size),
    "a text of secrets": lambda size: _step(
        b'"last_error":{"code":"server_error","message":"', b" sig=a&", b'"}', size
    ),
    "a text of escapes": lambda size: _step(
        b'"last_error":{"code":"server_error","message":"', b"\\u0001", b'"}', size
    ),
    "a stream of short lines": lambda size: _filled(
        b"event: thread.run.step.completed\n", b"\n", b"data: {}\n\n", size
    ),
    "a stream of frames": lambda size: _filled(b"", b"data: {}\n\n", b"data: {}\n\n", size),
    "json in json": lambda size: _step(b'"step_details":"[', b"{},", b'{}]"', size),
    "hostile messages": _hostile_messages,
}
"""By name: makes a value of so many bytes."""
