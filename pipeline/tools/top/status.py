"""What a daemon's /status says, checked: text from elsewhere is fit for a terminal, and nothing has another type."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, Field

from pipeline.text import visible_line

Text: TypeAlias = Annotated[str, AfterValidator(visible_line)]
Number: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Of records: what Kafka can count, and what can be drawn."""


class Place(BaseModel):
    """Where a partition is read: the next offset, the committed one, and how many records are behind it."""

    position: Number | None = None
    committed: Number | None = None
    lag: Number | None = None


class Buffer(BaseModel):
    """What waits to be written."""

    rows: Number = 0
    writing: bool = False


class Sink(BaseModel):
    """How ClickHouse takes the inserts."""

    available: bool = False
    cause: Text | None = None
    breaker: Text = ""


class MemberStatus(BaseModel):
    """How one process fares; one that has just begun says nothing but its state."""

    state: Text
    causes: list[Text] = []
    partitions: dict[Text, Place] = {}
    buffer: Buffer = Buffer()
    sink: Sink | None = None
    halted: dict[Text, Text] = {}
    last_error: dict[Text, Text] = {}
    counts: dict[Text, Number] = {}


class WorkerStatus(MemberStatus):
    """One of several processes behind an address; `pid` is None when there is none now, and `state` says why."""

    worker: Text
    pid: int | None = None
    heard_seconds_ago: float = 0.0


class Status(MemberStatus):
    """The answer of an address."""

    workers: list[WorkerStatus] = []
