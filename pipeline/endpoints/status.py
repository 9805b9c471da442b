"""The document that `/status` answers with: one model, written by the daemon and read by `top`, `doctor` and `demo`.

Owns the JSON's keys, their order and types. The daemon sets every field it knows, and only fields that were set are
written; a worker that has just started has only its state. A program that reads an answer uses `Status.read`: it makes
text safe for a terminal and rejects numbers that no daemon counts.
"""

import json
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ValidationInfo

from pipeline.text import visible_line

_FROM_ELSEWHERE: Final = {"from_elsewhere": True}
_MAX_NUMBER: Final = (1 << 63) - 1


def _safe_text(value: str, info: ValidationInfo) -> str:
    return visible_line(value) if info.context else value


def _safe_number(value: int, info: ValidationInfo) -> int:
    # A wrong number of the daemon's own must be shown, not end the page.
    if info.context and not 0 <= value <= _MAX_NUMBER:
        raise ValueError("is no number of records")
    return value


Text: TypeAlias = Annotated[str, AfterValidator(_safe_text)]
Number: TypeAlias = Annotated[int, AfterValidator(_safe_number)]
"""Of records: what Kafka can count, and what can be drawn."""


class PartitionStatus(BaseModel):
    """Where a partition is read: the next offset to be delivered, the committed one, and what is left up to the end.

    Position and lag add up to the end of the partition. A halted one is read again from its committed offset on, which
    is its position. What is `unstable` lies behind that end, and can be read once a producer's transaction ends.
    """

    position: Number | None = None
    committed: Number | None = None
    lag: Number | None = None
    unstable: Number | None = None


class BufferStatus(BaseModel):
    """What waits to be written."""

    rows: Number = 0
    writing: bool = False


class SinkStatus(BaseModel):
    """State of the inserts into ClickHouse; `most_rows` is None while no insert was too large, else with the cause.

    `pending_migrations` are those of this version that the database has not had, as far as its user may see that.
    """

    available: bool = False
    cause: Text | None = None
    breaker: Text = ""
    failures_in_a_row: Number | None = None
    most_rows: Number | None = None
    most_rows_cause: Text | None = None
    pending_migrations: list[Text] = []


class ProcessStatus(BaseModel):
    """State of one process; one that has just started has only `state`.

    While there are `causes`, records are not read and stored. With `remarks` they are, but not as they should be.
    """

    state: Text
    causes: list[Text] = []
    remarks: list[Text] = []
    partitions: dict[Text, PartitionStatus] = {}
    buffer: BufferStatus = BufferStatus()
    sink: SinkStatus | None = None
    halted: dict[Text, Text] = {}
    last_error: dict[Text, Text] = {}
    counts: dict[Text, Number] = {}

    def json_text(self) -> str:
        """Return the page: what was set, in the order of the fields."""
        return json.dumps(self.model_dump(exclude_unset=True), indent=2) + "\n"


class _WorkerProcess(BaseModel):
    """Which process a worker has; a base of its own, so that its fields come first."""

    worker: Text
    pid: int | None = None
    heard_seconds_ago: float = 0.0


class WorkerStatus(ProcessStatus, _WorkerProcess):
    """One of several processes behind an address; `pid` is None when there is none now, and `state` says why."""


class Status(ProcessStatus):
    """The answer of an address; `workers` only where the daemon has several processes."""

    workers: list[WorkerStatus] = []

    @classmethod
    def read(cls, page: str) -> Self:
        """Return what a daemon answered, fit for a terminal.

        Raises:
            ValidationError: this is no `/status` of runstep.
        """
        return cls.model_validate_json(page, context=_FROM_ELSEWHERE)
