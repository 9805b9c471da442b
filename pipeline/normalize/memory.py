"""How much memory records and their rows occupy: what `batch.max_bytes` counts.

Owns the estimate, and that rows share their ids. The estimate was measured with shapes that are far apart: ordinary
events, long keys, thousands of entries, text of one byte and of four bytes a character. It is made for many rows at
once, so that it costs little.
"""

from itertools import chain
from sys import getsizeof
from typing import Final

from pipeline.contracts import Columns
from pipeline.records import Record
from schemas.row import INDEX

_ROW: Final = 1_300
_HEADER: Final = 200
_ENTRY: Final = 120
"""An entry of the metadata without its value, and a tool call."""
_WIDEST: Final = 4
"""Bytes of a character, once a text holds one that takes them."""

_TEXTS: Final = tuple(INDEX[name] for name in ("step_details", "error_message", "extra_fields"))
_IDS: Final = tuple(INDEX[name] for name in ("thread_id", "run_id", "step_id", "assistant_id"))
_MAX_SHARED: Final = 8_192
_shared: Final[dict[str, str]] = {}
"""The latest ids, each as its own value."""

_METADATA: Final = INDEX["metadata"]
_TOOLS: Final = INDEX["tool_types"]


def with_shared_ids(columns: Columns) -> Columns:
    """Return the columns with one text for each id: ids are a fifth of a row, and soon come again."""
    if len(_shared) > _MAX_SHARED:
        _shared.clear()
    shared = list(columns)
    for position in _IDS:
        shared[position] = tuple(map(_shared.setdefault, columns[position], columns[position]))
    return tuple(shared)


def record_bytes(record: Record) -> int:
    """Return how many bytes a record occupies."""
    value, key = record.value, record.key
    held = len(value) if value else 0
    if key:
        held += len(key)
    for name, content in record.headers:
        held += _HEADER + _WIDEST * len(name) + len(content or b"")
    return held


def row_bytes(columns: Columns) -> int:
    """Return how many bytes the rows occupy; short texts are part of the row, as long as they are plain."""
    held = _ROW * len(columns[0])
    for position in _TEXTS:
        held += sum(map(getsizeof, filter(None, columns[position])))
    if not "".join(chain.from_iterable(columns[position] for position in _IDS)).isascii():
        held += sum(map(getsizeof, chain.from_iterable(columns[position] for position in _IDS)))
    for entries in filter(None, columns[_METADATA]):
        held += _ENTRY * len(entries) + sum(map(getsizeof, entries.values()))
    return held + _ENTRY * sum(map(len, columns[_TOOLS]))
