"""Rows of events, as mappings, by the way of the wire's bytes."""

from typing import Any, Final

from pipeline.normalize.decode import decode
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_row import step_row
from pipeline.records import Unstored
from schemas.row import INGEST_COLUMNS
from tests.support.events import CREATED, wire
from tests.support.fakes.kafka import FakeRecord

TIMESTAMP: Final = 1_764_000_000_000
"""Of the records, in milliseconds."""

CREATED_MS: Final = CREATED * 1000
NAMES: Final = tuple(column.name for column in INGEST_COLUMNS)
STATUSES: Final = ("in_progress", "completed", "failed", "cancelled", "expired")
ENDED: Final = STATUSES[1:]


def row_of(
    event: dict[str, Any], *, name: str = "", offset: int = 7, timestamp: int = TIMESTAMP, rules: Rules | None = None
) -> dict[str, Any]:
    """Return the row of an event, inside of a stream event of that name if there is one."""
    value = wire({"event": name, "data": event} if name else event)
    decoded = decode(value, 1_000_000)
    assert isinstance(decoded, RunStepEvent), decoded
    row = step_row(decoded, FakeRecord("run-steps", 3, offset, timestamp, b"key", value), 2, rules or Rules())
    assert not isinstance(row, Unstored), row
    return dict(zip(NAMES, row, strict=True))
