"""Records that cost more than their size shows, and what one of them takes of memory while it becomes rows.

Owns the shapes, each filled up to a size, and a process that makes rows of each in a child of its own and reports the
child's peak: `python -m tests.support.record_costs` prints a line for each shape.
"""

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.normalize.normalize import Rules, normalize
from tests.support.fakes.kafka import FakeRecord

HEAD: Final = b'{"id":"s","run_id":"r","created_at":1764000000,"status":"failed",'
CAMEL: Final = b'{"id":"s","runId":"r","createdAt":1764000000,"stepDetails":{"type":"tool_calls","toolCalls":['
EMOJI: Final = "\N{GRINNING FACE}".encode()
NESTED: Final = b'{"":' * 100 + b"0" + b"}" * 100
RULES: Final = Rules()


class Cost(NamedTuple):
    """What a record took."""

    shape: str
    size: int
    peak: int
    verdict: str


def repeated(head: bytes, unit: bytes, tail: bytes) -> Callable[[int], bytes]:
    """Return what makes a value of a size by repeating a unit, with commas in between."""
    return lambda size: head + b",".join([unit] * ((size - len(head) - len(tail)) // (len(unit) + 1))) + tail


def numbered(head: bytes, unit: bytes, tail: bytes) -> Callable[[int], bytes]:
    """Return the same for a unit that holds a number, another one each time."""
    length = len(unit % 0) + 1
    return lambda size: head + b",".join(unit % number for number in range((size - 200) // length)) + tail


def text(head: bytes, unit: bytes, tail: bytes) -> Callable[[int], bytes]:
    """Return what makes a value of a size by repeating a unit, with nothing in between."""
    return lambda size: head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def inside(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return what makes an envelope that holds another value as JSON in a string."""
    return lambda size: json.dumps({"event": "thread.run.step.completed", "data": make(size // 2).decode()}).encode()


EMPTY_DETAILS: Final = repeated(HEAD + b'"step_details":[', b"{}", b"]}")
SHAPES: Final = {
    "page of {}": repeated(b'{"object":"list","data":[', b"{}", b"]}"),
    "page of steps": repeated(b'{"object":"list","data":[', HEAD[:-1] + b"}", b"]}"),
    "array of {}": repeated(b"[", b"{}", b"]"),
    "array of []": repeated(b"[", b"[]", b"]"),
    "array of 0": repeated(b"[", b"0", b"]"),
    "camelCase calls": repeated(CAMEL, b"{}", b"]}}"),
    "camelCase, nested": repeated(CAMEL, NESTED, b"]}}"),
    'details [{"":0}]': repeated(HEAD + b'"step_details":[', b'{"":0}', b"]}"),
    "details, nested": repeated(HEAD + b'"step_details":[', NESTED, b"]}"),
    "details, floats": repeated(HEAD + b'"step_details":[', b"1e15", b"]}"),
    "details, keys": numbered(HEAD + b'"step_details":{', b'"%06x":0', b"}}"),
    "metadata, keys": numbered(HEAD + b'"metadata":{', b'"%06x":"x"', b"}}"),
    "unknown fields": numbered(HEAD, b'"%06x":0', b"}"),
    "lines": text(b"event: x\n", b"data:\n", b""),
    "short lines": text(b"data:", b"\r", b""),
    "JSON in a string": inside(EMPTY_DETAILS),
    "JSON in a string, camelCase": inside(repeated(CAMEL, b"{}", b"]}}")),
    "plain text": text(HEAD + b'"step_details":{"t":"', b"x", b'"}}'),
    "wide text": text(HEAD + b'"step_details":{"t":"' + EMOJI, b"x", b'"}}'),
    "escaped text": text(HEAD + b'"step_details":{"t":"' + EMOJI, b"\\u0001", b'"}}'),
    "addresses": text(HEAD + b'"step_details":{"t":"' + EMOJI, b"a@b.cc ", b'"}}'),
    "wide metadata": text(HEAD + b'"metadata":{"t":"' + EMOJI, b"x", b'"}}'),
    "wide unknown field": text(HEAD + b'"x":"' + EMOJI, b"x", b'"}'),
    "wide message": text(HEAD + b'"last_error":{"message":"' + EMOJI, b"x", b'"}}'),
    "one number": text(HEAD + b'"step_details":', b"7", b"}"),
    "blanks": text(HEAD, b" ", b'"x":0}'),
    "not UTF-8": text(HEAD + b'"x":"', b"x", b'\xff"}'),
    "broken": repeated(HEAD + b'"x":[', b"{}", b"}"),
}
"""Each makes a value of about so many bytes."""

SIZES: Final = (65_000, 299_000, 1_150_000, RULES.max_event_bytes)
"""Just read by the quick way; with nearly as many nodes as are read, short or long; as large as is read."""

_give_back: Final = ctypes.CDLL(None).malloc_trim


def costs() -> Iterator[Cost]:
    """Yield what each shape takes in each size."""
    rows_of(SHAPES["plain text"](1_000))
    gc.collect()
    gc.freeze()
    for shape, make in SHAPES.items():
        for size in SIZES:
            yield in_child(shape, make(size))


def rows_of(value: bytes) -> str:
    """Make rows of a record and return the verdict on it."""
    made = normalize([FakeRecord("run-steps", 0, 0, 1_764_000_000_000, None, value)], RULES)
    return f"{made.columns[6][0]} {made.columns[7][0]}".strip()


def in_child(shape: str, value: bytes) -> Cost:
    """Return what a record takes, measured in a process that does nothing else."""
    reader, writer = os.pipe()
    # What this process has freed must not be used again in the child, unseen.
    _give_back(0)
    child = os.fork()
    if not child:
        before = memory("VmRSS")
        verdict = rows_of(value)
        os.write(writer, f"{memory('VmHWM') - before} {verdict}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        peak, _, verdict = answer.read().decode().partition(" ")
    os.waitpid(child, 0)
    return Cost(shape, len(value), int(peak), verdict)


def memory(name: str) -> int:
    """Return a line of this process's memory as the kernel counts it, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    for cost in costs():
        sys.stdout.write("\t".join(map(str, cost)) + "\n")
