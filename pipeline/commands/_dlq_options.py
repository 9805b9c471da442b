"""What `runstep dlq` is given on the command line: which dead letters are meant."""

import re
from typing import Annotated, TypeAlias

import typer

from pipeline.commands._times import parse_time
from pipeline.records import IGNORED_REASONS, Reason, Stage
from pipeline.tools.dlq import Origins, Selection

Reasons: TypeAlias = Annotated[
    list[str] | None, typer.Option("--reason", "-r", metavar="REASON", help="Refused for this; may be repeated.")
]
Stages: TypeAlias = Annotated[
    list[Stage] | None, typer.Option("--stage", help="Refused at this stage; may be repeated.")
]
Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Dead-lettered since; 2h, 7d, or 2026-01-31T12:00 (UTC).")
]
Until: TypeAlias = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Dead-lettered before.")]
Origin: TypeAlias = Annotated[
    str | None,
    typer.Option("--origin", metavar="TOPIC/PARTITION[:FIRST-LAST]", help="Of this partition, and of these offsets."),
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="At most so many, the oldest first.")
]


def selection(
    reasons: list[str] | None, stages: list[Stage] | None, since: str | None, until: str | None, origin: str | None
) -> Selection:
    """Return which dead letters the options mean.

    Raises:
        BadParameter: one of them cannot be read.
    """
    known = [str(reason) for reason in Reason if reason not in IGNORED_REASONS]
    for reason in reasons or ():
        if reason not in known:
            raise typer.BadParameter(f"there is no reason {reason!r}; there are {', '.join(known)}")
    return Selection(
        reasons=frozenset(reasons or ()),
        stages=frozenset(map(str, stages or ())),
        since=parse_time(since),
        until=parse_time(until),
        origins=origins(origin),
    )


def origins(text: str | None) -> Origins | None:
    """Return the offsets that `TOPIC/PARTITION`, `…:OFFSET` or `…:FIRST-LAST` means.

    Raises:
        BadParameter: it is none of these.
    """
    if text is None:
        return None
    read = re.fullmatch(r"([A-Za-z0-9._-]{1,249})/(\d{1,9})(?::(\d{1,18})(-(\d{1,18})?)?)?", text.strip())
    if read is None:
        raise typer.BadParameter(
            f"{text!r} is not TOPIC/PARTITION, TOPIC/PARTITION:OFFSET or TOPIC/PARTITION:FIRST-LAST"
        )
    topic, partition, first, range_, last = read.groups()
    if first is None:
        return Origins(topic, int(partition))
    if range_ is None:
        return Origins(topic, int(partition), int(first), int(first))
    return Origins(topic, int(partition), int(first), None if last is None else int(last))


def place(text: str) -> tuple[int, int]:
    """Return partition and offset of `PARTITION:OFFSET`.

    Raises:
        BadParameter: it is something else.
    """
    read = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text.strip())
    if read is None:
        raise typer.BadParameter(f"{text!r} is not PARTITION:OFFSET, as `runstep dlq list` shows it")
    return int(read[1]), int(read[2])
