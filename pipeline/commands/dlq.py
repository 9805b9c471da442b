"""`runstep dlq`: lists dead letters, shows one, and brings them back in, each once."""

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
from pipeline.tools.dlq import (
    Book,
    DeadLetter,
    OnError,
    Replay,
    Report,
    Selection,
    Superseded,
    Terms,
    Transactions,
    dead_letter_of,
)

MOST_SHOWN: Final = 100
"""Dead letters that a table shows unless told otherwise; the JSON has all."""

dlq = typer.Typer(
    name="dlq",
    help="List, show and replay dead letters: records that were refused, kept in a topic of their own.",
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
        bool, typer.Option("--all", help="Those too that were replayed, requeued or dropped.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, times in milliseconds since the epoch.")] = False,
) -> None:
    """List the dead letters that are open, the oldest first, and how many there are of each reason.

    A dead letter that was sent twice is listed once. Values are not shown; `runstep dlq show` does.

    Examples: `runstep dlq list`, `runstep dlq list --reason too_large --since 2h`,
    `runstep dlq list --origin steps/3:1000-2000 --json`.
    """
    selection = options.selection(reason, stage, since, until, origin)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    with reading_logs(settings.kafka) as reader:
        book = Book(reader, settings.dead_letter_topic)
        _read(book)
    dead_letters = book.chosen(selection, closed=everything)
    shown = dead_letters[: limit if limit or as_json else MOST_SHOWN]
    if as_json:
        listed = [view.plain(dead_letter, book) for dead_letter in shown]
        typer.echo(json.dumps({"topic": book.topic, "found": len(dead_letters), "letters": listed}, indent=2))
        return
    _show_list(book, dead_letters, shown, everything=everything)


@dlq.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Where it lies in the dead-letter topic.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Only the value, byte for byte, secrets and all.")] = False,
) -> None:
    """Show a dead letter: its headers, key and value.

    Credentials and e-mail addresses are taken out, and control characters made visible, unless `--raw` asks for the
    bytes as they are.

    Examples: `runstep dlq show 0:17`, `runstep dlq show 0:17 --raw > dead letter.json`.
    """
    partition, offset = options.place(place)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    with reading_logs(settings.kafka) as reader:
        record = _record(reader, settings.dead_letter_topic, partition, offset)
    if record is None:
        typer.echo(
            f"runstep: {settings.dead_letter_topic} holds no record at {place}; `runstep dlq list` shows all", err=True
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
        str | None, typer.Option("--to-topic", metavar="TOPIC", help="To this topic, by key, instead of the origin.")
    ] = None,
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Leave dead letters alone that were refused so often.")
    ] = 3,
    on_error: Annotated[
        OnError,
        typer.Option(
            "--on-error", help="With a dead letter that cannot be replayed: stop, put it at the end, or drop it."
        ),
    ] = OnError.STOP,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Bring dead letters back in: to the topic and partition they came from, each once.

    Do it when the cause is fixed. Key, value and headers are the original's; it is a new record at a new offset. What
    was replayed is marked in the dead-letter topic in the same transaction: a second run, or one after a crash, goes
    on where the first ended. A record that is refused again comes back as a dead letter with a higher attempt. Of a dead letter
    that holds only the head of its value, the whole is fetched from its origin, if Kafka still has it.

    Exit codes: 0 done, 1 a dead letter could not be replayed or another replay took over, 69 Kafka is away, 78 a setting is
    wrong.

    Examples: `runstep dlq replay --dry-run`, `runstep dlq replay --reason too_large --yes`,
    `runstep dlq replay --origin steps/3:1000-2000 --on-error drop`.
    """
    selection = options.selection(reason, stage, since, until, origin)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    terms = Terms(max_attempts, on_error, to_topic)
    try:
        with reading_logs(settings.kafka) as reader:
            book = Book(reader, settings.dead_letter_topic)
            _require(book, to_topic)
            if dry_run:
                report = _preview(book, terms, selection, limit, as_json=as_json)
            else:
                report = _replay(settings, book, terms, (selection, limit), ask=not yes)
    except Superseded as error:
        typer.echo(f"runstep: {error}", err=True)
        raise typer.Exit(_exit_codes.FINDINGS) from None
    _tell(report, dry=dry_run, as_json=as_json)


def _replay(settings: Settings, book: Book, terms: Terms, which: tuple[Selection, int | None], *, ask: bool) -> Report:
    # A missing topic is told before anybody else's replay is ended.
    book.reader.partitions(book.topic)
    replaying = Replay(book, terms)
    with _transactions(settings) as transactions:
        _read(book)
        dead_letters = replaying.plan(*which)
        if dead_letters:
            if ask:
                _confirm(dead_letters)
            transactions.prove(book.reader)
            with view.progress("replaying") as tell:
                replaying.run(
                    dead_letters, transactions, lambda left: tell(len(dead_letters) - left, len(dead_letters))
                )
    return replaying.report


def _preview(book: Book, terms: Terms, selection: Selection, limit: int | None, *, as_json: bool) -> Report:
    _read(book)
    replaying = Replay(book, terms)
    decisions = list(replaying.preview(replaying.plan(selection, limit)))
    if decisions and not as_json:
        view.console().print(view.decision_table(decisions[:MOST_SHOWN]))
    return replaying.report


@contextmanager
def _transactions(settings: Settings) -> Iterator[Transactions]:
    transactions = Transactions(settings)
    try:
        transactions.open()
        yield transactions
    finally:
        transactions.close()


def _require(book: Book, topic: str | None) -> None:
    if topic == book.topic:
        raise typer.BadParameter(f"{topic} is the dead-letter topic")
    if topic is not None:
        book.reader.partitions(topic)


def _confirm(dead_letters: list[DeadLetter]) -> None:
    if len(dead_letters) > 1 and sys.stdin.isatty():
        typer.confirm(
            f"Replay {len(dead_letters):,} dead letters ({view.by_reason(dead_letters)})?", abort=True, err=True
        )


def _tell(report: Report, *, dry: bool, as_json: bool) -> None:
    if as_json:
        failed = [
            {
                "partition": dead_letter.partition,
                "offset": dead_letter.offset,
                "origin": dead_letter.identity._asdict(),
                "cause": cause,
            }
            for dead_letter, cause in report.failures
        ]
        counts: dict[str, Any] = {str(outcome): number for outcome, number in report.done.items()}
        counts |= {"exhausted": report.exhausted, "closed_before": report.closed, "stopped": report.stopped}
        typer.echo(json.dumps({"dry_run": dry, **counts, "failures": failed}, indent=2))
    else:
        for dead_letter, cause in report.failures[:MOST_SHOWN]:
            typer.echo(view.failure_line(dead_letter, cause), err=True)
        for line in view.summary(report, dry=dry):
            typer.echo(line)
        if report.stopped:
            typer.echo("stopped there; --on-error requeue or drop goes on", err=True)
    if report.failed:
        raise typer.Exit(_exit_codes.FINDINGS)


def _read(book: Book) -> None:
    with view.progress(f"reading {book.topic}") as tell:
        book.read_on(tell)


def _show_list(book: Book, dead_letters: list[DeadLetter], shown: list[DeadLetter], *, everything: bool) -> None:
    if shown:
        view.console().print(view.dead_letter_table(shown, book))
    if len(shown) < len(dead_letters):
        typer.echo(f"the first {len(shown):,} of {len(dead_letters):,}; --limit shows more")
    kind = "letters" if everything else "open dead letters"
    typer.echo(
        f"{len(dead_letters):,} {kind}: {view.by_reason(dead_letters)}"
        if dead_letters
        else f"no {kind} in {book.topic}"
    )
    if book.strangers:
        typer.echo(f"{book.strangers:,} records of {book.topic} are no dead letters of runstep")


def _record(reader: LogReader, topic: str, partition: int, offset: int) -> Any:
    part = TopicPartition(topic, partition)
    if part not in reader.partitions(topic):
        raise ConfigError(f"topic {topic} has no partition {partition}")
    return next(reader.at(part, [offset]), None)


def _show_record(record: Any) -> None:
    dead_letter = dead_letter_of(record)
    typer.echo(f"{record.topic} {record.partition}:{record.offset}, {view.instant(record.timestamp)}")
    if dead_letter is None:
        typer.echo("no dead letter, or one with damaged headers")
    for name, value in record.headers:
        typer.echo(f"{view.line_of(name.encode())}: {view.line_of(value)}")
    typer.echo(f"key: {view.line_of(record.key)}")
    if dead_letter is not None and dead_letter.sha256:
        typer.echo(f"the first {len(record.value or b''):,} of {dead_letter.size:,} bytes:")
    typer.echo(view.text_of(record.value))
