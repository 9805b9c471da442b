"""`runstep dlq`: lists dead letters, shows one, and replays them, each once."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from kafka.structs import TopicPartition

from pipeline.commands import _dlq_options as options
from pipeline.commands import _dlq_output as view
from pipeline.commands import _exit_codes
from pipeline.commands._settings import settings_from_context
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.kafka.log_reader import LogReader, reading_logs
from pipeline.text import utc_time
from pipeline.tools.dlq import (
    DeadLetter,
    DeadLetterTopic,
    OnError,
    Replay,
    ReplayPolicy,
    ReplayResult,
    Selection,
    Superseded,
    Transactions,
    dead_letter_of,
)

MAX_SHOWN: Final = 100
"""Dead letters that a table shows without --limit; --json has no limit."""

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
        _read(topic)
    dead_letters = topic.chosen(selection, closed=everything)
    shown = dead_letters[: limit if limit or as_json else MAX_SHOWN]
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


@dlq.command()
def replay(  # noqa: PLR0913 - one for each option
    *,
    reason: options.Reasons = None,
    stage: options.Stages = None,
    since: options.Since = None,
    until: options.Until = None,
    origin: options.Origin = None,
    limit: options.Limit = None,
    to_topic: Annotated[
        str | None,
        typer.Option(
            "--to-topic", metavar="TOPIC", help="Write to this topic, partitioned by key, instead of the origin."
        ),
    ] = None,
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Skip dead letters that were rejected so often.")
    ] = 3,
    on_error: Annotated[
        OnError,
        typer.Option("--on-error", help="What to do when one cannot be replayed: stop, put it at the end, or drop it."),
    ] = OnError.STOP,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Replay dead letters: write them to the topic and partition they came from, each once.

    Replay once the cause is fixed. A replayed record has the key, value and headers of the original, at a new offset.
    The same transaction marks its dead letter as replayed in the dead-letter topic, so a second run, or one after a
    crash, continues where the first ended. If the daemon rejects the record again, the new dead letter has a higher
    attempt. Where a dead letter holds only the first part of its value, the whole value is read from the origin, if
    Kafka still holds it.

    Exit codes: 0 done, 1 a dead letter could not be replayed or another replay took over, 69 Kafka is away, 78 a
    setting is wrong.

    Examples: `runstep dlq replay --dry-run`, `runstep dlq replay --reason too_large --yes`,
    `runstep dlq replay --origin steps/3:1000-2000 --on-error drop`.
    """
    selection = options.selection(reason, stage, since, until, origin)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    policy = ReplayPolicy(max_attempts, on_error, to_topic)
    try:
        with reading_logs(settings.kafka) as reader:
            topic = DeadLetterTopic(reader, settings.dead_letter_topic)
            _require_target(topic, to_topic)
            if dry_run:
                result = _preview(topic, policy, selection, limit, as_json=as_json)
            else:
                result = _replay(settings, topic, policy, (selection, limit), ask=not yes)
    except Superseded as error:
        typer.echo(f"runstep: {error}", err=True)
        raise typer.Exit(_exit_codes.FINDINGS) from None
    _print_result(result, dry=dry_run, as_json=as_json)


def _replay(
    settings: Settings, topic: DeadLetterTopic, policy: ReplayPolicy, which: tuple[Selection, int | None], *, ask: bool
) -> ReplayResult:
    # A missing topic is an error before this replay fences off another one.
    topic.reader.partitions(topic.name)
    replay_run = Replay(topic, policy)
    with _transactions(settings) as transactions:
        _read(topic)
        dead_letters = replay_run.plan(*which)
        if dead_letters:
            if ask:
                _confirm(dead_letters)
            transactions.verify_isolation(topic.reader)
            with view.progress("replaying") as progress:
                replay_run.run(
                    dead_letters, transactions, lambda left: progress(len(dead_letters) - left, len(dead_letters))
                )
    return replay_run.result


def _preview(
    topic: DeadLetterTopic, policy: ReplayPolicy, selection: Selection, limit: int | None, *, as_json: bool
) -> ReplayResult:
    _read(topic)
    replay_run = Replay(topic, policy)
    decisions = list(replay_run.preview(replay_run.plan(selection, limit)))
    if decisions and not as_json:
        view.console().print(view.decision_table(decisions[:MAX_SHOWN]))
    return replay_run.result


@contextmanager
def _transactions(settings: Settings) -> Iterator[Transactions]:
    transactions = Transactions(settings)
    try:
        transactions.open()
        yield transactions
    finally:
        transactions.close()


def _require_target(topic: DeadLetterTopic, target: str | None) -> None:
    if target == topic.name:
        raise typer.BadParameter(f"--to-topic: {target} is the dead-letter topic")
    if target is not None:
        topic.reader.partitions(target)


def _confirm(dead_letters: list[DeadLetter]) -> None:
    if len(dead_letters) > 1 and sys.stdin.isatty():
        typer.confirm(
            f"Replay {len(dead_letters):,} dead letters ({view.by_reason(dead_letters)})?", abort=True, err=True
        )


def _print_result(result: ReplayResult, *, dry: bool, as_json: bool) -> None:
    if as_json:
        failed = [
            {
                "partition": dead_letter.partition,
                "offset": dead_letter.offset,
                "origin": dead_letter.identity._asdict(),
                "cause": cause,
            }
            for dead_letter, cause in result.failures
        ]
        counts: dict[str, Any] = {str(outcome): number for outcome, number in result.done.items()}
        counts |= {"exhausted": result.exhausted, "closed_before": result.closed, "stopped": result.stopped}
        typer.echo(json.dumps({"dry_run": dry, **counts, "failures": failed}, indent=2))
    else:
        for dead_letter, cause in result.failures[:MAX_SHOWN]:
            typer.echo(view.failure_line(dead_letter, cause), err=True)
        for line in view.summary(result, dry=dry):
            typer.echo(line)
        if result.stopped:
            typer.echo("the replay stopped there; --on-error requeue or --on-error drop continues", err=True)
    if result.failed:
        raise typer.Exit(_exit_codes.FINDINGS)


def _read(topic: DeadLetterTopic) -> None:
    with view.progress(f"reading {topic.name}") as progress:
        topic.read_new(progress)


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
