"""`runstep top`: running daemons, live in a terminal, or once as text or JSON."""

import json
import logging
import os
import sys
import time
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from pipeline.commands import _exit_codes
from pipeline.commands._settings import settings_from_context
from pipeline.tools.top.addresses import group_members, named_daemons
from pipeline.tools.top.board import Board
from pipeline.tools.top.drawing import (
    failures_table,
    headline,
    lag_line,
    members_table,
    outcomes_table,
    partitions_table,
    speed_line,
    steps_table,
    troubles_table,
)
from pipeline.tools.top.figures import Figures
from pipeline.tools.top.sampling import Sampler, ask_over_http

_ANSWER_TIMEOUT_S: Final = 6.0
"""How long `--once` waits for answers; longer than the time-out of a question to a stalled daemon."""
_PLAIN_WIDTH: Final = 150
"""Columns, where the output is no terminal."""


def top(
    *,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ADDRESS", help="Daemons, as [http[s]://]host[:port]; a DNS name stands for all its addresses."
        ),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", "-g", help="Watch all members of the consumer group, as Kafka lists them.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.2, max=3600, help="Seconds between two questions.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the figures once, as text, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures once, as JSON, and end.")] = False,
) -> None:
    """Watch running daemons: records per second, lag by partition, inserts, breaker, dead letters, errors, steps.

    Without an address, `top` watches the daemon at `http.bind`. A name that resolves to several addresses (a headless
    service of Kubernetes, a service of compose) stands for all of them. With --group, `top` watches every member of
    `kafka.group_id`, on the host from which the member talks to Kafka and on the port of `http.bind`; those members
    must not bind to 127.0.0.1. Members may come, go and restart meanwhile.

    Keys: q quits, p pauses, s sorts, tab and 0-4 change the view, + and - the interval, ? explains keys and columns.

    --once and --json ask twice, one interval apart, since rates need two answers. Without a terminal, or on a dumb one,
    `top` behaves as with --once. NO_COLOR is respected. `top` only reads /status and /metrics.

    Exit codes: 0 at least one daemon answers, 69 no daemon answers (--once, --json), 78 a setting is wrong.

    Examples: `runstep top`, `runstep top pod-1:9464 pod-2:9464`, `runstep top runstep-headless`, `runstep top --group`,
    `runstep top --json | jq .lag`.
    """
    if group and addresses:
        raise typer.BadParameter("give addresses or --group, not both")
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    try:
        find = group_members(settings) if group else named_daemons(addresses or (), settings.http)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    sampler = Sampler(find, ask_over_http(settings.http))
    board = Board("" if addresses else settings.kafka.group_id)
    if not (once or as_json) and _is_terminal():
        _live(sampler, board, interval)
        return
    # With --group, the daemons may be known only after the time-out of a broker that is away.
    timeout_s = _ANSWER_TIMEOUT_S + (settings.kafka.bootstrap_timeout if group else 0.0)
    figures = _sample_twice(sampler, board, interval, timeout_s)
    if as_json:
        typer.echo(json.dumps(asdict(figures), indent=2))
    else:
        _print(figures)
    if not figures.answering:
        raise typer.Exit(_exit_codes.UNAVAILABLE)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def _live(sampler: Sampler, board: Board, interval: float) -> None:
    # The import is slow, and only the live screen needs it.
    from pipeline.tools.top.screen import Top  # noqa: PLC0415

    error = Top(sampler.sample, board, interval).run()
    if error is not None:
        raise error


def _sample_twice(sampler: Sampler, board: Board, interval: float, timeout_s: float) -> Figures:
    began = time.monotonic()
    figures = board.update(sampler.sample(timeout_s), time.monotonic(), time.time())
    if not figures.answering:
        return figures
    time.sleep(max(began + interval - time.monotonic(), 0.0))
    return board.update(sampler.sample(timeout_s), time.monotonic(), time.time())


def _print(figures: Figures) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    width = console.width
    console.print(headline(figures, width))
    console.print(speed_line(figures, width))
    console.print(lag_line(figures, width))
    for title, table in (
        ("MEMBERS", members_table(figures, width)),
        ("PARTITIONS", partitions_table(figures, width)),
        ("RECORDS", outcomes_table(figures, width)),
        ("ERRORS", troubles_table(figures, width)),
        ("STEPS", steps_table(figures, width)),
        ("FAILURES", failures_table(figures, width)),
    ):
        console.print()
        console.print(Text(title, "bold"))
        console.print(table)
