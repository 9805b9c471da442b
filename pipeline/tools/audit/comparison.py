"""Runs the audit: reads the committed offsets, then what the ledger has below them, then why the rest is missing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.config import Settings
from pipeline.records import Partition
from pipeline.tools.audit.account import MAX_EXAMPLES, Account, DeadLetterAccount, PartitionAccount, StepAccount
from pipeline.tools.audit.kafka_side import MAX_DEAD_LETTERS, KafkaSide, Log, open_kafka_side
from pipeline.tools.audit.ledger_side import LedgerSide, open_ledger_side

_SECOND_LOOK_DELAY_S: Final = 2.0
"""How long after a problem the audit compares again: a running daemon changes both sides meanwhile."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited.

    Attributes:
        held: whether only the offsets that Kafka still holds.
        dead_letters: whether the dead-letter topic, too.
        since_start: whether the group should have read everything from the start of the log on.
        max_gaps: ranges of missing offsets in a partition that are looked up in Kafka.
    """

    held: bool
    dead_letters: bool
    since_start: bool
    max_gaps: int


def run_audit(
    settings: Settings, progress: Callable[[str], None], *, held: bool, dead_letters: bool, max_gaps: int
) -> Account:
    """Compare Kafka, the ledger and the steps; where there are problems, compare a second time.

    Args:
        settings: where everything is.
        progress: called with each step of the audit.
        held: audit only offsets that Kafka still holds.
        dead_letters: read the dead-letter topic, too.
        max_gaps: ranges of missing offsets in a partition to look up in Kafka.

    Raises:
        ServiceUnavailable: Kafka or ClickHouse does not answer, or denies access.
        ConfigError: a topic does not exist.
    """
    # If the ledger deletes old rows, or the group began at the end of the log, the audit begins at the first row.
    since_start = settings.kafka.start == "earliest" and not settings.clickhouse.retention_days
    scope = Scope(held, dead_letters, since_start, max_gaps)
    with open_kafka_side(settings) as source, open_ledger_side(settings.clickhouse) as store:
        account = _compare_once(source, store, scope, progress)
        if account.problems():
            progress("again, since there are problems")
            time.sleep(_SECOND_LOOK_DELAY_S)
            account = _compare_once(source, store, scope, progress)
        return account


def _compare_once(source: KafkaSide, store: LedgerSide, scope: Scope, progress: Callable[[str], None]) -> Account:
    logs = source.logs()
    parts = []
    for partition, log in logs.items():
        progress(f"{partition.topic}/{partition.number}: offsets below {log.committed}")
        parts.append(_partition(source, store, partition, log, scope))
    audited = {
        part.partition: (_first(part.first, log, scope), log.committed)
        for part, log in zip(parts, logs.values(), strict=True)
        if log.committed is not None
    }
    progress("steps")
    steps: StepAccount = store.steps(audited)
    if not scope.dead_letters:
        return Account(parts, steps, DeadLetterAccount(skipped="dead letters were not compared (--no-dead-letters)"))
    progress("dead letters")
    return Account(parts, steps, _dead_letters(source, store, audited))


def _first(known: int | None, log: Log, scope: Scope) -> int:
    """Return the first offset that is audited."""
    if scope.held:
        return log.start
    if scope.since_start:
        return log.start if known is None else min(known, log.start)
    # Without a row the beginning is unknown, and nothing is audited.
    return known if known is not None else log.committed or 0


def _partition(source: KafkaSide, store: LedgerSide, partition: Partition, log: Log, scope: Scope) -> PartitionAccount:
    part = PartitionAccount(partition, log.start, log.end, log.committed, log.unstable)
    part.in_flight = store.beyond(partition, log.committed or 0)
    part.foreign = _foreign(source, store, partition, log)
    part.in_flight = max(part.in_flight - part.foreign, 0)
    if log.committed is None:
        return part
    begin = log.start if scope.held else store.kept(partition, log.committed)
    known = store.known(partition, begin, log.committed)
    if known is not None:
        part.first, part.offsets, part.outcomes = known.first, known.offsets, known.outcomes
        if known.rows != known.offsets:
            part.repeated_rows, part.recreated = store.several(partition, begin, log.committed)
    first, below = _first(part.first, log, scope), min(log.committed, max(log.end, log.start))
    lacking = log.committed - first - part.offsets
    if first < below and lacking:
        ranges = store.missing(partition, first, below, scope.max_gaps + 1)
        part.gaps = source.causes(partition, ranges[: scope.max_gaps], log.start)
        if len(ranges) > scope.max_gaps:
            part.looked_up = scope.max_gaps
            part.unverified = max(lacking - (log.committed - below) - sum(gap.offsets for gap in part.gaps), 0)
    return part


def _foreign(source: KafkaSide, store: LedgerSide, partition: Partition, log: Log) -> int:
    """Return how many offsets of the ledger this log cannot have: they are of another log with the same name.

    That is the topic before it was deleted and recreated, or the one of another cluster. The rows are there for good.
    """
    last = store.last(partition)
    # A running daemon may have written rows since the end was asked for; so it is asked for once more.
    if last is None or last < log.end or last < (end := source.end(partition)):
        return 0
    return store.beyond(partition, end)


def _dead_letters(
    source: KafkaSide, store: LedgerSide, audited: Mapping[Partition, tuple[int, int]]
) -> DeadLetterAccount:
    expected = store.dead_lettered(audited, MAX_DEAD_LETTERS + 1)
    if len(expected) > MAX_DEAD_LETTERS:
        return DeadLetterAccount(
            len(expected),
            skipped=f"dead letters were not compared: the ledger has more than {MAX_DEAD_LETTERS:,} of them",
        )
    dead_letters = source.dead_letters()
    absent = expected.keys() - dead_letters.origins
    # A dead letter is written after its row: where the row is younger than the oldest one, it cannot have expired.
    missing = sorted(origin for origin in absent if expected[origin] > dead_letters.since)
    named = [f"{topic}/{number}:{offset}" for topic, number, offset in missing[:MAX_EXAMPLES]]
    found = len(expected) - len(absent)
    return DeadLetterAccount(len(expected), found, len(absent) - len(missing), named, dead_letters.skipped)
