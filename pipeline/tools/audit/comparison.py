"""The audit's course: what is committed first, then what the tables have of it, then why the rest is not there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.config import Settings
from pipeline.records import Outcome, Partition
from pipeline.tools.audit import kafka_side, ledger_side
from pipeline.tools.audit.account import EXAMPLES, Account, DeadLetterAccount, PartitionAccount, StepAccount
from pipeline.tools.audit.kafka_side import MOST_GAPS, MOST_LETTERS, Kafka, Log
from pipeline.tools.audit.ledger_side import Tables

_SECOND_LOOK: Final = 2.0
"""Seconds before bad news are looked at again: a daemon that writes meanwhile changes both sides."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited.

    Attributes:
        held: only offsets that Kafka still holds.
        dead_letters: the dead-letter topic, too.
        since_start: whether everything from the start of the log on should have been read.
    """

    held: bool
    dead_letters: bool
    since_start: bool


def audit(settings: Settings, *, held: bool, dead_letters: bool, tell: Callable[[str], None]) -> Account:
    """Compare Kafka, the ledger and the steps; what looks bad is looked at twice.

    Args:
        settings: where everything is.
        held: audit only offsets that Kafka still holds.
        dead_letters: read the dead-letter topic, too.
        tell: told what is being done, a line each.

    Raises:
        ServiceUnavailable: Kafka or ClickHouse does not answer, or lacks a right.
        ConfigError: a topic does not exist.
    """
    # Where old rows of the ledger are deleted, or where we began at the end, the ledger's first row is the beginning.
    since_start = settings.kafka.start == "earliest" and not settings.clickhouse.retention_days
    scope = Scope(held, dead_letters, since_start)
    with kafka_side.connected(settings) as source, ledger_side.connected(settings.clickhouse) as store:
        account = _look(source, store, scope, tell)
        if account.problems():
            tell("something is wrong; looking again")
            time.sleep(_SECOND_LOOK)
            account = _look(source, store, scope, tell)
        return account


def _look(source: Kafka, store: Tables, scope: Scope, tell: Callable[[str], None]) -> Account:
    logs = source.logs()
    parts = []
    for partition, log in logs.items():
        tell(f"{partition.topic}/{partition.number}: offsets below {log.committed}")
        parts.append(_partition(source, store, partition, log, scope))
    audited = {
        part.partition: (_first(part.first, log, scope), log.committed)
        for part, log in zip(parts, logs.values(), strict=True)
        if log.committed is not None
    }
    tell("steps")
    steps: StepAccount = store.steps(audited)
    if not scope.dead_letters:
        return Account(parts, steps, DeadLetterAccount(skipped="not asked for"))
    tell("dead letters")
    return Account(parts, steps, _dead_letters(source, store, audited))


def _first(known: int | None, log: Log, scope: Scope) -> int:
    """Return the first offset that is audited."""
    if scope.held:
        return log.start
    if scope.since_start:
        return log.start if known is None else min(known, log.start)
    # Without a row nobody can tell where it began: nothing is audited then.
    return known if known is not None else log.committed or 0


def _partition(source: Kafka, store: Tables, partition: Partition, log: Log, scope: Scope) -> PartitionAccount:
    part = PartitionAccount(partition, log.start, log.end, log.committed)
    if log.committed is None:
        part.in_flight = store.beyond(partition, 0)
        return part
    begin = log.start if scope.held else store.kept(partition, log.committed)
    known = store.known(partition, begin, log.committed)
    if known is not None:
        part.first, part.offsets, part.outcomes = known.first, known.offsets, known.outcomes
        if known.rows != known.offsets:
            part.repeated_rows, part.recreated = store.several(partition, begin, log.committed)
    part.in_flight = store.beyond(partition, log.committed)
    first, below = _first(part.first, log, scope), min(log.committed, max(log.end, log.start))
    lacking = log.committed - first - part.offsets
    if first < below and lacking:
        ranges = store.missing(partition, first, below)
        part.gaps = source.causes(partition, ranges[:MOST_GAPS], log.start)
        if len(ranges) > MOST_GAPS:
            part.unverified = max(lacking - (log.committed - below) - sum(gap.offsets for gap in part.gaps), 0)
    return part


def _dead_letters(source: Kafka, store: Tables, audited: Mapping[Partition, tuple[int, int]]) -> DeadLetterAccount:
    expected = store.dead_lettered(audited, MOST_LETTERS + 1)
    if len(expected) > MOST_LETTERS:
        return DeadLetterAccount(
            len(expected), skipped=f"more than {MOST_LETTERS:,} {Outcome.DEAD_LETTERED.value} offsets"
        )
    dead_letters = source.dead_letters()
    absent = expected.keys() - dead_letters.origins
    # A dead letter is written after its row; one whose row is younger than the oldest dead letter cannot have expired.
    missing = sorted(origin for origin in absent if expected[origin] > dead_letters.since)
    named = [f"{topic}/{number}:{offset}" for topic, number, offset in missing[:EXAMPLES]]
    found = len(expected) - len(absent)
    return DeadLetterAccount(len(expected), found, len(absent) - len(missing), named, dead_letters.skipped)
