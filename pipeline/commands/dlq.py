"""`runstep dlq`: lists dead letters, shows one, and replays them, each once."""

import json
import logging
import sys
from collections import Counter
from typing import Annotated, Any

import typer
from kafka.structs import TopicPartition

from pipeline.commands import _dlq_options as options
from pipeline.commands import _dlq_output as view
from pipeline.commands import _exit_codes
from pipeline.commands._dlq_replay import replay
from pipeline.commands._settings import settings_from_context
from pipeline.errors import ConfigError
from pipeline.kafka.log_reader import LogReader, reading_logs
from pipeline.text import utc_time
from pipeline.tools.dlq import DeadLetter, DeadLetterTopic, dead_letter_of

dlq = typer.Typer(
    name="dlq",
    help="List, show and replay dead letters: records that the daemon rejected and keeps in the dead-letter topic.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@dlq.command("list")
def list_dead_letters(  # noqa: PLR0913 - one for each option
    *,
    reason: options.Reasons = None,
    stage: options.Stages = None,
    since: options.Since = None,
    until: options.Until = None,
    origin: options.Origin = None,
    limit: options.Limit = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List also those that were replayed, requeued or dropped.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with times in milliseconds since the epoch.")
    ] = False,
) -> None:
    """List the open dead letters, the oldest first, and their number by reason.

    A dead letter is open until it is replayed or dropped. One that was sent twice is listed once. The list does not
    show values; `runstep dlq show` does.

    Exit codes: 0 listed, 69 Kafka is away, 78 a setting is wrong or the topic does not exist.

    Examples: `runstep dlq list`, `runstep dlq list --reason too_large --since 2h`,
    `runstep dlq list --origin steps/3:1000-2000 --json`.
    """
    selection = options.selection(reason, stage, since, until, origin)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    with reading_logs(settings.kafka) as reader:
        topic = DeadLetterTopic(reader, settings.dead_letter_topic)
        view.read(topic)
    dead_letters = topic.chosen(selection, closed=everything)
    shown = dead_letters[: limit if limit or as_json else view.MAX_SHOWN]
    if as_json:
        listed = [view.as_json_object(dead_letter, topic) for dead_letter in shown]
        typer.echo(json.dumps({"topic": topic.name, "found": len(dead_letters), "letters": listed}, indent=2))
        return
    _show_list(topic, dead_letters, shown, everything=everything)


@dlq.command()
def show(
    place: Annotated[
        str,
        typer.Argument(metavar="PARTITION:OFFSET", help="Its place in the dead-letter topic, as `dlq list` shows it."),
    ],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the value, byte for byte, with its secrets.")] = False,
) -> None:
    """Show a dead letter: its headers, key and value.

    Credentials and e-mail addresses are redacted and control characters are made visible, except with `--raw`.

    Exit codes: 0 shown, 1 the topic holds no record there, 69 Kafka is away, 78 a setting is wrong.

    Examples: `runstep dlq show 0:17`, `runstep dlq show 0:17 --raw > dead-letter.json`.
    """
    partition, offset = options.place(place)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    with reading_logs(settings.kafka) as reader:
        record = _record(reader, settings.dead_letter_topic, partition, offset)
    if record is None:
        typer.echo(
            f"runstep: {settings.dead_letter_topic} holds no record at {place}; `runstep dlq list` shows what it holds",
            err=True,
        )
        raise typer.Exit(_exit_codes.FINDINGS)
    if raw:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
        return
    _show_record(record)


dlq.command()(replay)


def _show_list(
    topic: DeadLetterTopic, dead_letters: list[DeadLetter], shown: list[DeadLetter], *, everything: bool
) -> None:
    if shown:
        view.console().print(view.dead_letter_table(shown, topic))
    if len(shown) < len(dead_letters):
        typer.echo(f"these are the first {len(shown):,} of {len(dead_letters):,}; --limit shows more")
    kind = "dead letters" if everything else "open dead letters"
    typer.echo(
        f"{len(dead_letters):,} {kind}: {view.by_reason(dead_letters)}"
        if dead_letters
        else f"no {kind} in {topic.name}"
    )
    if topic.outcomes and not everything:
        closed = ", ".join(
            f"{outcome} {number:,}" for outcome, number in sorted(Counter(topic.outcomes.values()).items())
        )
        typer.echo(f"closed by markers in the topic: {closed}; --all lists their dead letters")
    if topic.foreign:
        typer.echo(f"{topic.foreign:,} records of {topic.name} are not dead letters of runstep")


def _record(reader: LogReader, topic: str, partition: int, offset: int) -> Any:
    part = TopicPartition(topic, partition)
    if part not in reader.partitions(topic):
        raise ConfigError(f"topic {topic} has no partition {partition}")
    return next(reader.at(part, [offset]), None)


def _show_record(record: Any) -> None:
    dead_letter = dead_letter_of(record)
    typer.echo(f"{record.topic} {record.partition}:{record.offset}, {utc_time(record.timestamp)}")
    if dead_letter is None:
        typer.echo("this record is not a dead letter of runstep, or its headers are damaged")
    for name, value in record.headers:
        typer.echo(f"{view.line_of(name.encode())}: {view.line_of(value)}")
    typer.echo(f"key: {view.line_of(record.key)}")
    if dead_letter is not None and dead_letter.sha256:
        typer.echo(f"the first {len(record.value or b''):,} of {dead_letter.size:,} bytes:")
    typer.echo(view.text_of(record.value))
