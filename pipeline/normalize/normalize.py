"""The one door to this package: records in, columns out.

Owns what the steps of a record become together: rows, an account of what is not stored, dead letters. Pure: no IO, no
clock, no log. Bad data is a value; an exception out of here is a bug.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Columns
from pipeline.normalize.decode import Decoded, decode
from pipeline.normalize.memory import record_bytes, row_bytes, with_shared_ids
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_row import step_row
from pipeline.records import InvalidRecord, Reason, Record, Stage, UnreadRecord, Unstored, ledger_row, set_aside
from schemas.row import Row

__all__ = ["Normalized", "Rules", "normalize", "unreadable"]


@dataclass(frozen=True, slots=True)
class Normalized:
    """What records became, in offset order.

    Attributes:
        columns: of the rows, in the order of `schemas.row.INGEST_COLUMNS`.
        origins: the record of each row; one with several steps is repeated.
        dead_letters: the records among them that are rejected, each once.
        size: bytes of memory that records and rows occupy, about.
        records: how many they were.
    """

    columns: Columns
    origins: Sequence[Record]
    dead_letters: Sequence[InvalidRecord] = ()
    size: int = 0
    records: int = 0


def normalize(records: Sequence[Record], rules: Rules, most: int = sys.maxsize) -> Normalized:
    """Return the rows of the first records, at least one for each. The hot path.

    Args:
        records: of one partition, at least one, in offset order.
        rules: what is read and kept of them.
        most: the record that brings their bytes to so many is the last one.
    """
    max_bytes, max_nodes, unshared = rules.max_event_bytes, rules.max_event_nodes, rules.unshared_bytes
    rows: list[Row] = []
    origins: list[Record] = []
    dead_letters: list[InvalidRecord] = []
    size = taken = 0
    for record in records:
        value = record.value
        decoded = _unread(record) if value is None else decode(value, max_bytes, max_nodes)
        own = rules if value is None or len(value) <= unshared else rules.with_share()
        for index, event in enumerate(decoded if isinstance(decoded, list) else (decoded,)):
            row = event if isinstance(event, Unstored) else step_row(event, record, index, own)
            if isinstance(row, Unstored):
                set_aside(dead_letters, record, row)
                row = ledger_row(row, record, index)
            rows.append(row)
            origins.append(record)
        taken += 1
        size += record_bytes(record)
        if size >= most:
            break
    columns = with_shared_ids(tuple(zip(*rows, strict=True)))
    return Normalized(columns, origins, dead_letters, size + row_bytes(columns), taken)


def _unread(record: Record) -> Decoded | list[Decoded]:
    """Return why a record without a value is no event: it has none, or it was not read."""
    verdict = record.verdict if isinstance(record, UnreadRecord) else None
    return verdict or decode(None, 0)


def unreadable(records: Sequence[Record], detail: str) -> Normalized:
    """Return the account of records that Kafka holds but no client can read: dead-lettered by their place."""
    verdict = Unstored(Reason.UNREADABLE, Stage.FETCH, detail)
    dead_letters: list[InvalidRecord] = []
    for record in records:
        set_aside(dead_letters, record, verdict)
    columns = tuple(zip(*[ledger_row(verdict, record, 0) for record in records], strict=True))
    return Normalized(columns, records, dead_letters, row_bytes(columns), len(records))
