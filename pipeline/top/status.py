"""What a daemon's /status says, checked: text from elsewhere is fit for a terminal, and nothing has another type."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel

from pipeline.visible import visible_line

Text: TypeAlias = Annotated[str, AfterValidator(visible_line)]


class Place(BaseModel):
    """Where a partition is read: the next offset, the committed one, and how many records are behind it."""

    position: int | None = None
    committed: int | None = None
    lag: int | None = None


class Buffer(BaseModel):
    """What waits to be written."""

    rows: int = 0
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
    counts: dict[Text, int] = {}


class WorkerStatus(MemberStatus):
    """One of several processes behind an address; `pid` is None when there is none now, and `state` says why."""

    worker: Text
    pid: int | None = None


class Status(MemberStatus):
    """The answer of an address."""

    workers: list[WorkerStatus] = []
