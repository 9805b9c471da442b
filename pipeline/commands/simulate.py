"""`runstep simulate`: produces realistic run-step traffic to any Kafka, or prints it."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipeline.commands._settings import settings_from_context
from pipeline.config import KafkaSettings, Settings
from pipeline.errors import ServiceUnavailable
from pipeline.kafka.topics import create_topics, topics
from pipeline.tools.simulation import SimulatedEvent, Traffic
from pipeline.tools.simulation.producer import EventProducer, Sent, paced, timeline

_DEFAULT_RATE_PER_S: Final = 100.0
_DIALECTS: Final = ("snake", "camel", "envelope")


def simulate(  # noqa: PLR0913 - a command's options are its parameters
    *,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", min=1, help="Number of events; without it, until --duration or Ctrl-C."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="Events per second, 0 for as fast as Kafka accepts them; by default 100, with --count 0."
        ),
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Seconds after which to stop.")] = None,
    topic: Annotated[str | None, typer.Option(help="Topic; by default the first of kafka.topics.")] = None,
    create: Annotated[
        int | None,
        typer.Option(
            "--create-topic", min=1, metavar="N", help="Create the topic and its .dlq with N partitions, if missing."
        ),
    ] = None,
    dialects: Annotated[
        str,
        typer.Option(
            help="Weights of the wire forms; a form that is not named does not occur.",
            metavar="snake=W,camel=W,envelope=W",
        ),
    ] = "snake=45,camel=20,envelope=35",
    failures: Annotated[
        float, typer.Option(min=0, max=1, help="Share of steps that end failed, expired or cancelled.")
    ] = 0.06,
    out_of_order: Annotated[
        float, typer.Option(min=0, max=1, help="Share of events that arrive after their step's end.")
    ] = 0.03,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of events sent twice.")] = 0.02,
    poison: Annotated[float, typer.Option(min=0, max=0.9, help="Share of records that must be dead-lettered.")] = 0.004,
    seed: Annotated[int, typer.Option(help="The same seed makes the same traffic.")] = 0,
    to_stdout: Annotated[
        bool,
        typer.Option("--print", help="Print the events, one JSON a line, instead of producing them; needs no Kafka."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Produce realistic run-step events: lifecycles, tool calls, errors, duplicates, late events, poison.

    `simulate` runs until --count, --duration or Ctrl-C, and then waits until Kafka has acknowledged every event. The
    summary says which outcomes a correct pipeline must report.

    Exit codes: 0 all events are acknowledged, 69 Kafka is away or lacks the topic, 78 a setting is wrong.

    Examples: `runstep simulate --create-topic 4`, `runstep simulate --count 100000 --json`,
    `runstep simulate --count 20 --print`.
    """
    traffic = Traffic(
        seed=seed,
        failure_ratio=failures,
        **_weights(dialects),
        out_of_order_ratio=out_of_order,
        duplicate_ratio=duplicates,
        poison_ratio=poison,
    )
    pace = (_DEFAULT_RATE_PER_S if count is None and not to_stdout else 0.0) if rate is None else rate
    stream = timeline(traffic, count, pace)
    if duration is not None:
        stream = _for_seconds(stream, duration)
    if to_stdout:
        _print(stream, pace)
        return
    # An error of Kafka is one line; the client's own lines would bury it.
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    if topic is not None:
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topics": (topic,)})})
    _require_topic(settings, create)
    sent = _produce(settings.kafka, stream, count, pace)
    _summarize(sent, settings.kafka.topics[0], as_json=as_json)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets; a second Ctrl-C raises KeyboardInterrupt."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _weights(text: str) -> dict[str, float]:
    """Read `snake=1,camel=2`; a form that is not named does not occur."""
    weights = dict.fromkeys(_DIALECTS, 0.0)
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        with suppress(ValueError):
            if name in weights and float(weight) >= 0:
                weights[name] = float(weight)
                continue
        raise typer.BadParameter(f"{part.strip()!r} is not NAME=WEIGHT with one of {', '.join(_DIALECTS)}")
    if not sum(weights.values()):
        raise typer.BadParameter("at least one weight must be above 0", param_hint="--dialects")
    return weights


def _for_seconds(stream: Iterable[SimulatedEvent], seconds: float) -> Iterator[SimulatedEvent]:
    end = time.monotonic() + seconds
    return takewhile(lambda _: time.monotonic() < end, stream)


def _require_topic(settings: Settings, partitions: int | None) -> None:
    name = settings.kafka.topics[0]
    found = topics(settings) if partitions is None else create_topics(settings, partitions)
    if any(topic.name == name and topic.state == "missing" for topic in found):
        raise ServiceUnavailable(f"Kafka has no topic {name!r}; create it, or run `runstep simulate --create-topic 4`")


def _produce(settings: KafkaSettings, stream: Iterable[SimulatedEvent], count: int | None, rate: float) -> Sent:
    producer = EventProducer(settings, settings.topics[0])
    try:
        with interruptible() as stop, _progress(settings.topics[0], count) as tick:
            return producer.produce(stream, rate, stop, tick)
    finally:
        producer.close()


@contextmanager
def _progress(topic: str, total: int | None) -> Iterator[Callable[[Sent], None]]:
    """Show a bar on a terminal, and nothing elsewhere, where the summary suffices."""
    console = Console(stderr=True)
    columns = (
        TextColumn(f"producing to {topic}"),
        BarColumn(),
        MofNCompleteColumn() if total else TextColumn("{task.completed} events"),
        TaskProgressColumn(show_speed=True) if total else TextColumn(""),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, speed="")

        def tick(sent: Sent) -> None:
            speed = sent.acknowledged / max(time.monotonic() - began, 0.001)
            progress.update(task, completed=sent.acknowledged, speed=f"{speed:,.0f} events/s")

        yield tick


def _summarize(sent: Sent, topic: str, *, as_json: bool) -> None:
    if as_json:
        summary = {
            "topic": topic,
            "events": sent.acknowledged,
            "kinds": sent.kinds,
            "expected": sent.outcomes,
            "ends": {str(partition): end for partition, end in sorted(sent.ends.items())},
        }
        typer.echo(json.dumps(summary))
        return
    typer.echo(f"{sent.acknowledged:,} events acknowledged in topic {topic}")
    typer.echo(f"  kinds     {_listed(sent.kinds)}")
    typer.echo(f"  expected outcomes: {_listed(sent.outcomes)}")
    ends = ", ".join(f"{partition}: {end:,}" for partition, end in sorted(sent.ends.items()))
    typer.echo(f"  next offset by partition: {ends}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {number:,}" for name, number in counts.most_common())


def _print(stream: Iterable[SimulatedEvent], rate: float) -> None:
    """Print the events that are JSON, and on standard error the number of the others."""
    left_out = 0
    output = sys.stdout.buffer
    try:
        with interruptible() as stop:
            for event in paced(stream, rate, stop):
                if event.value and event.kind != "poison":
                    output.write(event.value + b"\n")
                else:
                    left_out += 1
        output.flush()
    except BrokenPipeError:
        # The reader has closed the pipe; the rest of the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if left_out:
        typer.echo(f"{left_out} records that are not JSON were left out", err=True)
