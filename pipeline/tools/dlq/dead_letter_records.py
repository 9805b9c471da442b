"""What lies in a dead-letter topic: dead letters, and markers that say what became of dead letters.

Owns the markers and the headers of a record that comes back. The headers of a dead letter are
`pipeline.kafka.dead_letters`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from typing import Any, Final, NamedTuple, Self

from pipeline.kafka.dead_letters import ATTEMPT, Headers

OURS: Final = "runstep-"
REPLAYED_OF: Final = "runstep-replayed-of"
OUTCOME: Final = "runstep-replay-outcome"
_PARTS: Final = 5


class Identity(NamedTuple):
    """What a dead letter tells of: a record, by its place and time, and how often it was refused.

    Dead letters that were sent twice have the same. The time, in milliseconds, tells a topic that was made again.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    attempt: int

    def __str__(self) -> str:
        return "/".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `str` has written.

        Raises:
            ValueError: it was something else.
        """
        # What a dead letter says of its topic may hold anything.
        parts = text.rsplit("/", _PARTS - 1)
        if len(parts) != _PARTS:
            raise ValueError(f"{len(parts)} parts")
        return cls(intern(parts[0]), *map(int, parts[1:]))


class Outcome(StrEnum):
    """What became of a dead letter, as its marker says."""

    REPLAYED = "replayed"
    REQUEUED = "requeued"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its value: many of them must fit into memory.

    Attributes:
        identity: what it tells of.
        partition: where it lies in the dead-letter topic.
        offset: same.
        timestamp: when it was sent, milliseconds since the epoch.
        reason: why the record was refused; a word of another version may be none of `Reason`.
        stage: where.
        size: bytes of the original value.
        sha256: of the original value, where the dead letter holds its head only; else "".
    """

    identity: Identity
    partition: int
    offset: int
    timestamp: int
    reason: str
    stage: str
    size: int
    sha256: str = ""


def dead_letter_of(record: Any) -> DeadLetter | None:
    """Return the dead letter that a record of the dead-letter topic is; None where it is none."""
    said = _said(record.headers)
    if "runstep-reason" not in said:
        return None
    try:
        partition, offset, timestamp = (int(said[f"runstep-{name}"]) for name in ("partition", "offset", "timestamp"))
        identity = Identity(intern(said["runstep-topic"]), partition, offset, timestamp, int(said[ATTEMPT]))
        size = int(said.get("runstep-truncated", len(record.value or b"")))
    except (KeyError, ValueError):
        return None
    if min(partition, offset, size) < 0:
        return None
    reason, stage = intern(said["runstep-reason"]), intern(said.get("runstep-stage", ""))
    sha256 = said.get("runstep-sha256", "")
    return DeadLetter(identity, record.partition, record.offset, record.timestamp, reason, stage, size, sha256)


def mark_of(headers: Sequence[tuple[str, bytes]]) -> tuple[Identity, Outcome] | None:
    """Return whose marker a record is, and what it says; None where it is none."""
    said = _said(headers)
    try:
        return Identity.parse(said[REPLAYED_OF]), Outcome(said[OUTCOME])
    except (KeyError, ValueError):
        return None


def marks(identity: Identity, outcome: Outcome) -> Headers:
    """Return the headers of a marker; it has no `runstep-reason`, so that nobody takes it for a dead letter."""
    return [(REPLAYED_OF, str(identity).encode()), (OUTCOME, outcome.encode())]


def returning(headers: Sequence[tuple[str, bytes | None]], identity: Identity) -> Headers:
    """Return the headers of a record that comes back: its own, where it was, and the attempt, which counts on."""
    said = {
        "runstep-replay-topic": identity.topic,
        "runstep-replay-partition": str(identity.partition),
        "runstep-replay-offset": str(identity.offset),
        ATTEMPT: str(identity.attempt),
    }
    own = [(name, value or b"") for name, value in headers if not name.startswith(OURS)]
    return own + [(name, text.encode()) for name, text in said.items()]


def once_more(headers: Sequence[tuple[str, bytes]], identity: Identity) -> Headers:
    """Return the headers of a dead letter that is put behind all others, as if it had been refused once more."""
    kept = [(name, value or b"") for name, value in headers if name != ATTEMPT]
    return [*kept, (ATTEMPT, str(identity.attempt + 1).encode())]


def _said(headers: Sequence[tuple[str, bytes]]) -> Mapping[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers if name.startswith(OURS)}
