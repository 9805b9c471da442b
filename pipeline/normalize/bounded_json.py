"""The JSON of one record, parsed only if it is made of a bounded number of nodes.

Owns how nodes are counted before anything is made of them, and the kinds of broken JSON. A node is an object, an array,
or a value in one of them. Three bytes of JSON can become 500 bytes of memory, so the size of a record says little of
what it costs. A record may hold JSON in its strings, and JSON in the strings of that: all of it counts together. Pure.
"""

import re
from itertools import islice
from typing import Any, Final

from pydantic_core import from_json

from pipeline.records import Reason, Stage, Unstored

MAX_NODES: Final = 200_000
"""What the settings allow by default: several times what a page of a hundred steps has."""

_tokens: Final = re.compile(
    # A string that nothing ends goes on to the end: so does the parser's, and no node comes after it.
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{,])',
    re.DOTALL,
).finditer


class RecordJson:
    """Parses what is JSON in one record, as long as it has nodes left."""

    def __init__(self, size: int, max_nodes: int) -> None:
        """Prepare for a record of `size` bytes; one that is not larger than `max_nodes` cannot have as many."""
        self._bounded = size > max_nodes
        self._max_nodes = self._left = max_nodes

    def parse(self, text: bytes) -> Any:
        """Return what the text holds, or why it is rejected."""
        if self._bounded and not self._takes(self._nodes(text)):
            return self._too_complex("JSON nodes")
        try:
            return from_json(text)
        except ValueError as error:
            return _rejected(*_fault(text, str(error)))

    def lines(self, text: bytes) -> list[bytes] | Unstored:
        """Return the lines of text that is not JSON as a whole, or why it is rejected."""
        if self._bounded and not self._takes(text.count(b"\n") + text.count(b"\r")):
            return self._too_complex("lines")
        return text.splitlines()

    def _nodes(self, text: bytes) -> int:
        """Count the nodes of a text, but not far beyond those that are left."""
        marks = (1 for token in _tokens(text) if token.lastindex)
        return sum(islice(marks, self._left + 1))

    def _takes(self, nodes: int) -> bool:
        self._left -= nodes
        return self._left >= 0

    def _too_complex(self, what: str) -> Unstored:
        return _rejected(
            Reason.TOO_COMPLEX, f"more {what} in one record than {self._max_nodes}, which are read at most"
        )


def _fault(text: bytes, message: str) -> tuple[Reason, str]:
    """Distinguish the kinds of broken JSON; the parser's message names positions, never content."""
    if "recursion limit" in message:
        return Reason.TOO_DEEP, message
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return Reason.NOT_UTF8, f"invalid UTF-8 at byte {error.start}"
    return Reason.INVALID_JSON, message


def _rejected(reason: Reason, detail: str) -> Unstored:
    return Unstored(reason, Stage.DECODE, detail)
