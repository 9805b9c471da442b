"""`runstep dlq replay`: asks, replays or only shows what would be done, and reports."""

import json
import logging
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from pipeline.commands import _dlq_options as options
from pipeline.commands import _dlq_output as view
from pipeline.commands import _exit_codes
from pipeline.commands._settings import settings_from_context
from pipeline.config import Settings
from pipeline.kafka.log_reader import reading_logs
from pipeline.records import Unstored
from pipeline.tools.dlq import (
    DeadLetter,
    DeadLetterTopic,
    Decision,
    OnError,
    Replay,
    ReplayPolicy,
    ReplayResult,
    Selection,
    Superseded,
    Transactions,
    Trial,
)


def replay(  # noqa: PLR0913 - one for each option
    context: typer.Context,
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
    any_topic: Annotated[
        bool,
        typer.Option("--any-topic", help="Write to whatever topic a dead letter names, not only to `kafka.topics`."),
    ] = False,
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

    Replay once the cause is fixed. It asks before it writes. Only topics of `kafka.topics` are written to, unless
    `--to-topic` or `--any-topic` says otherwise. A replayed record has the key, value and headers of the original, at a
    new offset. The same transaction marks its dead letter as replayed in the dead-letter topic, so a second run, or one
    after a crash, continues where the first ended. If the daemon rejects the record again, the new dead letter has a
    higher attempt; `--dry-run` says which ones it would reject, and why. Where a dead letter holds only the first part
    of its value, the whole value is read from the origin, if Kafka still holds it.

    Exit codes: 0 done, 1 a dead letter could not be replayed or another replay took over, 64 it cannot ask, 69 Kafka is
    away, 78 a setting is wrong.

    Examples: `runstep dlq replay --dry-run`, `runstep dlq replay --reason too_large --yes`,
    `runstep dlq replay --origin steps/3:1000-2000 --on-error drop`.
    """
    selection = options.selection(reason, stage, since, until, origin)
    settings = settings_from_context(kafka_log_level=logging.CRITICAL)
    if to_topic == settings.dead_letter_topic:
        raise typer.BadParameter(f"--to-topic: {to_topic} is the dead-letter topic")
    if not (yes or dry_run or sys.stdin.isatty()):
        _refuse_to_ask(context)
    policy = ReplayPolicy(max_attempts, on_error, to_topic, None if any_topic else frozenset(settings.kafka.topics))
    try:
        with reading_logs(settings.kafka) as reader:
            topic = DeadLetterTopic(reader, settings.dead_letter_topic)
            if to_topic is not None:
                reader.partitions(to_topic)
            if dry_run:
                _preview(settings, topic, policy, (selection, limit), as_json=as_json)
            else:
                result = _replay(settings, topic, policy, (selection, limit), ask=not yes)
                _report(result, _as_object(result, dry=False) if as_json else None, dry=False)
    except Superseded as error:
        typer.echo(f"runstep: {error}", err=True)
        raise typer.Exit(_exit_codes.FINDINGS) from None


def _replay(
    settings: Settings, topic: DeadLetterTopic, policy: ReplayPolicy, which: tuple[Selection, int | None], *, ask: bool
) -> ReplayResult:
    # A missing topic is an error before this replay fences off another one.
    topic.reader.partitions(topic.name)
    replay_run = Replay(topic, policy)
    with _transactions(settings) as transactions:
        view.read(topic)
        dead_letters = replay_run.plan(*which)
        if dead_letters:
            if ask:
                _confirm(dead_letters, policy)
            transactions.verify_isolation(topic.reader)
            with view.progress("replaying") as progress:
                replay_run.run(
                    dead_letters, transactions, lambda left: progress(len(dead_letters) - left, len(dead_letters))
                )
    return replay_run.result


@contextmanager
def _transactions(settings: Settings) -> Iterator[Transactions]:
    transactions = Transactions(settings)
    try:
        transactions.open()
        yield transactions
    finally:
        transactions.close()


@dataclass(slots=True)
class _Foreseen:
    """What a replay would do: the first decisions for the table, and of all where they go and which come again."""

    first: list[tuple[Decision, Unstored | None]] = field(default_factory=list)
    targets: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[DeadLetter, Unstored]] = field(default_factory=list)

    def add(self, decision: Decision, rejected: Unstored | None) -> None:
        if len(self.first) < view.MAX_SHOWN:
            # Without the values, which may be large.
            records = [record._replace(key=None, value=None) for record in decision.records]
            self.first.append((decision._replace(records=records), rejected))
        if decision.returned is not None:
            self.targets[decision.returned.topic] += 1
        if rejected is not None:
            self.rejected.append((decision.dead_letter, rejected))


def _preview(
    settings: Settings,
    topic: DeadLetterTopic,
    policy: ReplayPolicy,
    which: tuple[Selection, int | None],
    *,
    as_json: bool,
) -> None:
    view.read(topic)
    replay_run, trial, foreseen = Replay(topic, policy), Trial.of(settings), _Foreseen()
    for decision in replay_run.preview(replay_run.plan(*which)):
        returned = decision.returned
        foreseen.add(decision, None if returned is None else trial.rejection(returned))
    if as_json:
        again = [
            {**_place(dead_letter), "reason": rejected.reason, "detail": rejected.detail}
            for dead_letter, rejected in foreseen.rejected
        ]
        shown = _as_object(replay_run.result, dry=True) | {"topics": foreseen.targets, "rejected_again": again}
        _report(replay_run.result, shown, dry=True)
        return
    if foreseen.first:
        view.console().print(view.decision_table(foreseen.first, topic))
        typer.echo(f"to topics: {view.numbers(foreseen.targets) or 'none'}")
    if foreseen.rejected:
        reasons = Counter(str(rejected.reason) for _, rejected in foreseen.rejected)
        typer.echo(f"the daemon would reject again: {view.numbers(reasons)}")
    _report(replay_run.result, None, dry=True)


def _refuse_to_ask(context: typer.Context) -> None:
    typer.echo(
        "runstep: `dlq replay` asks before it writes, and standard input is no terminal; to write without being asked: "
        + _command(context, "--yes"),
        err=True,
    )
    raise typer.Exit(_exit_codes.USAGE)


def _command(context: typer.Context, *more: str) -> str:
    """Return the command line of this call, with more options behind it."""
    words = context.command_path.split()
    for part in (context.find_root(), context):
        for option in part.command.params:
            source = part.get_parameter_source(str(option.name))
            if source is None or source.name != "COMMANDLINE":
                continue
            value = part.params[str(option.name)]
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [option.opts[0]] if each is True else [option.opts[0], str(each)]
    return shlex.join([*words, *more])


def _confirm(dead_letters: list[DeadLetter], policy: ReplayPolicy) -> None:
    targets = Counter(policy.to_topic or dead_letter.identity.topic for dead_letter in dead_letters)
    count = "1 dead letter" if len(dead_letters) == 1 else f"{len(dead_letters):,} dead letters"
    question = f"Replay {count} ({view.by_reason(dead_letters)}) to {view.numbers(targets)}?"
    typer.confirm(question, abort=True, err=True)


def _place(dead_letter: DeadLetter) -> dict[str, Any]:
    return {
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "origin": dead_letter.identity._asdict(),
    }


def _as_object(result: ReplayResult, *, dry: bool) -> dict[str, Any]:
    counts: dict[str, Any] = {str(outcome): number for outcome, number in result.done.items()}
    counts |= {"exhausted": result.exhausted, "closed_before": result.closed, "elsewhere": result.elsewhere}
    failed = [{**_place(dead_letter), "cause": cause} for dead_letter, cause in result.failures]
    return {"dry_run": dry, **counts, "stopped": result.stopped, "failures": failed}


def _report(result: ReplayResult, shown: dict[str, Any] | None, *, dry: bool) -> None:
    if shown is not None:
        typer.echo(json.dumps(shown, indent=2))
    else:
        for dead_letter, cause in result.failures[: view.MAX_SHOWN]:
            typer.echo(view.failure_line(dead_letter, cause), err=True)
        for line in view.summary(result, dry=dry):
            typer.echo(line)
        if result.stopped:
            typer.echo("the replay stopped there; --on-error requeue or --on-error drop continues", err=True)
    if result.failed:
        raise typer.Exit(_exit_codes.FINDINGS)
