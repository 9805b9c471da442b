"""The records of a dead-letter topic: dead letters, and markers that say what became of them.

Owns the markers and the headers of a replayed record. The headers of a dead letter belong to
`pipeline.kafka.dead_letters`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from typing import Any, Final, NamedTuple, Self

from pipeline.kafka.dead_letters import ATTEMPT, Headers, Place, replay_headers, replay_origin

HEADER_PREFIX: Final = "runstep-"
REPLAYED_OF: Final = "runstep-replayed-of"
OUTCOME: Final = "runstep-replay-outcome"
_IDENTITY_PARTS: Final = 5
_MAX_ATTEMPT: Final = 1_000_000_000


class Identity(NamedTuple):
    """Which rejection a dead letter reports: a record, by topic, partition, offset and time, and its attempt.

    A dead letter that was sent twice has the same identity. The time, in milliseconds, distinguishes a recreated topic.
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
        """Parse what `str` writes.

        Raises:
            ValueError: the text has another form.
        """
        # The topic in a header may be any text, with slashes.
        parts = text.rsplit("/", _IDENTITY_PARTS - 1)
        if len(parts) != _IDENTITY_PARTS:
            raise ValueError(f"{len(parts)} parts")
        return cls(intern(parts[0]), *map(int, parts[1:]))


class ReplayOutcome(StrEnum):
    """What became of a dead letter, as its marker records."""

    REPLAYED = "replayed"
    REQUEUED = "requeued"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its value, since many of them must fit into memory.

    Attributes:
        identity: the rejection that it reports.
        partition: its partition in the dead-letter topic.
        offset: its offset there.
        timestamp: when it was sent, milliseconds since the epoch.
        reason: why the record was rejected; that of another version may be unknown to `Reason`.
        stage: at which stage.
        size: bytes of the original value.
        sha256: of the original value, where the dead letter is cut, else "".
        replayed_from: where the record says that it was before a replay; None where it was not replayed.
    """

    identity: Identity
    partition: int
    offset: int
    timestamp: int
    reason: str
    stage: str
    size: int
    sha256: str = ""
    replayed_from: Place | None = None


def dead_letter_of(record: Any) -> DeadLetter | None:
    """Parse a record of the dead-letter topic; None where it is no dead letter."""
    texts = _texts(record.headers)
    if "runstep-reason" not in texts:
        return None
    try:
        partition, offset, timestamp = (int(texts[f"runstep-{name}"]) for name in ("partition", "offset", "timestamp"))
        identity = Identity(intern(texts["runstep-topic"]), partition, offset, timestamp, int(texts[ATTEMPT]))
        size = int(texts.get("runstep-truncated", len(record.value or b"")))
    except (KeyError, ValueError):
        return None
    if min(partition, offset, size, identity.attempt) < 0 or identity.attempt > _MAX_ATTEMPT:
        return None
    reason, stage = intern(texts["runstep-reason"]), intern(texts.get("runstep-stage", ""))
    origin = replay_origin(record.headers)
    return DeadLetter(
        identity=identity,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        reason=reason,
        stage=stage,
        size=size,
        sha256=texts.get("runstep-sha256", ""),
        replayed_from=origin and origin._replace(topic=intern(origin.topic)),
    )


def marker_of(headers: Sequence[tuple[str, bytes]]) -> tuple[Identity, ReplayOutcome] | None:
    """Parse the headers of a marker: whose it is, and what it records; None where they are no marker's."""
    texts = _texts(headers)
    try:
        return Identity.parse(texts[REPLAYED_OF]), ReplayOutcome(texts[OUTCOME])
    except (KeyError, ValueError):
        return None


def marker_headers(identity: Identity, outcome: ReplayOutcome) -> Headers:
    """Return the headers of a marker; without `runstep-reason` no reader takes it for a dead letter."""
    return [(REPLAYED_OF, str(identity).encode()), (OUTCOME, outcome.encode())]


def replayed(headers: Sequence[tuple[str, bytes | None]], identity: Identity, attempt: int) -> Headers:
    """Return the headers of a replayed record: its own ones, its origin, and how often it was rejected so far."""
    own = [(name, value or b"") for name, value in headers if not name.startswith(HEADER_PREFIX)]
    origin = replay_headers(Place(identity.topic, identity.partition, identity.offset))
    return [*own, *origin, (ATTEMPT, str(attempt).encode())]


def requeued(headers: Sequence[tuple[str, bytes]], identity: Identity) -> Headers:
    """Return the headers of a requeued dead letter: those it has, with the next attempt."""
    kept = [(name, value or b"") for name, value in headers if name != ATTEMPT]
    return [*kept, (ATTEMPT, str(identity.attempt + 1).encode())]


def _texts(headers: Sequence[tuple[str, bytes]]) -> Mapping[str, str]:
    return {
        name: (value or b"").decode("utf-8", "replace") for name, value in headers if name.startswith(HEADER_PREFIX)
    }
