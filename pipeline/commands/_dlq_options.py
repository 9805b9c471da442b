"""The options of `runstep dlq` that select dead letters."""

import re
from typing import Annotated, TypeAlias

import typer

from pipeline.commands._times import parse_time
from pipeline.records import IGNORED_REASONS, Reason, Stage
from pipeline.tools.dlq import Origins, Selection

Reasons: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--reason", "-r", metavar="REASON", help="Only those rejected for this reason; may be repeated."),
]
Stages: TypeAlias = Annotated[
    list[Stage] | None, typer.Option("--stage", help="Only those rejected at this stage; may be repeated.")
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only those dead-lettered since: 2h, 7d, or 2026-01-31T12:00 (UTC)."),
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only those dead-lettered before, in the same forms.")
]
Origin: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--origin", metavar="TOPIC/PARTITION[:FIRST-LAST]", help="Only those from this partition and these offsets."
    ),
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="At most so many, the oldest first.")
]


def selection(
    reasons: list[str] | None, stages: list[Stage] | None, since: str | None, until: str | None, origin: str | None
) -> Selection:
    """Return the selection that the options describe.

    Raises:
        BadParameter: an option cannot be read.
    """
    known = [str(reason) for reason in Reason if reason not in IGNORED_REASONS]
    for reason in reasons or ():
        if reason not in known:
            raise typer.BadParameter(f"there is no reason {reason!r}; the reasons are {', '.join(known)}")
    return Selection(
        reasons=frozenset(reasons or ()),
        stages=frozenset(map(str, stages or ())),
        since=parse_time(since),
        until=parse_time(until),
        origins=origins(origin),
    )


def origins(text: str | None) -> Origins | None:
    """Return the offsets of `TOPIC/PARTITION`, `…:OFFSET` or `…:FIRST-LAST`.

    Raises:
        BadParameter: the text has none of these forms.
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
        BadParameter: the text has another form.
    """
    read = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text.strip())
    if read is None:
        raise typer.BadParameter(f"{text!r} is not PARTITION:OFFSET, as `runstep dlq list` shows it")
    return int(read[1]), int(read[2])
