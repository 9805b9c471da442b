"""What became of every record and of every count, after a kill run: lost, doubled, above or below the truth."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.scenarios.kills.plan import Strike
from tests.scenarios.kills.rig import Rig
from tests.support.daemon import environment
from tests.support.oracle import Origin, Place, Samples, Truth, read_topic, summed

AFTER_ALL: Final = "after the last"
AUDIT_TIMEOUT: Final = 300.0
VISIBLE: Final = {
    "run_step_ledger FINAL": "kafka_partition, kafka_offset, step_index",
    "run_steps FINAL": "kafka_partition, kafka_offset, step_id",
    "run_steps_current": "thread_id, run_id, step_id",
}
"""What is read, and what may be there once only."""


class Counted(NamedTuple):
    """A metric over all its labels: the truth, what all lives had counted, and where that was too much or too little.

    What is above in one series does not make up for what is below in another.
    """

    truth: float
    counted: float
    above: float
    below: float


@dataclass
class Verdict:
    """All that the run has shown.

    Attributes:
        strikes: the kills.
        seconds: number of a strike to its recovery time.
        inserting: how many strikes are known to have met an insert or its commit.
        records: how many Kafka holds.
        dead_letters: how many of them had to be rejected.
        lost: victim to the records that are not in the ledger, or were rejected and have no dead letter; they belong to
            the first strike after they were produced.
        doubled: victim to the records that can be seen twice.
        metrics: name to what was counted.
        faults: everything that is wrong, in words.
    """

    strikes: list[Strike]
    seconds: Mapping[int, float]
    inserting: int
    records: int
    dead_letters: int
    lost: Mapping[str, int]
    doubled: Mapping[str, int]
    metrics: Mapping[str, Counted]
    faults: list[str]


def judge(rig: Rig, strikes: list[Strike]) -> Verdict:
    """Compare tables, dead letters and counters with what Kafka holds, once everything has been drained."""
    truth = Truth(rig.there, rig.load.produced)
    counted = summed(text for member in rig.members for text in member.scraped)
    faults = rig.faults + _failed_checks(rig, truth, counted)
    lost, doubled = _lost(rig, truth), _doubled(rig)
    faults += [
        f"{len(places)} {what}, as {places[:5]}" for what, places in (("lost", lost), ("doubled", doubled)) if places
    ]
    return Verdict(
        strikes,
        rig.recoveries.seconds,
        len(rig.inserting),
        truth.records,
        len(truth._refused),
        _by_victim(rig, strikes, lost),
        _by_victim(rig, strikes, doubled),
        compared(truth.model.samples, counted),
        faults,
    )


def _failed_checks(rig: Rig, truth: Truth, counted: Samples) -> list[str]:
    acknowledged = rig.load._producer.sent.acknowledged
    checks: dict[str, Callable[[], object]] = {
        "Kafka": lambda: _claim("" if truth.records >= acknowledged else f"{truth.records} of {acknowledged} records"),
        "tables": truth.check_tables,
        "dead letters": truth.check_dead_letters,
        "counters above the truth": lambda: _claim(truth.excess(counted)),
        "audit": lambda: _claim(audited(rig.there)),
    }
    failed = []
    for name, check in checks.items():
        try:
            check()
        except AssertionError as error:
            failed.append(f"{name}: {error}")
    return failed


def compared(true: Samples, counted: Samples) -> dict[str, Counted]:
    """Return each counter and histogram, added up over its labels."""
    found: dict[str, Counted] = {}
    for series in sorted(true.keys() | counted.keys()):
        name = series.partition("{")[0]
        if name.endswith(("_total", "_count")):
            was, now = true.get(series, 0), counted.get(series, 0)
            one = (was, now, max(0, now - was), max(0, was - now))
            found[name] = Counted(*map(sum, zip(found.get(name, (0, 0, 0, 0)), one, strict=True)))
    return found


def audited(there: Place) -> str:
    """Return what `runstep audit` has found; '' where nothing is wrong and nothing is left to read."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "audit", "--json"],
            cwd=folder,
            env=environment(*there),
            capture_output=True,
            text=True,
            timeout=AUDIT_TIMEOUT,
            check=False,
        )
    if done.returncode:
        return f"exit code {done.returncode}\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
    behind = {part["partition"]: part["lag"] for part in json.loads(done.stdout)["partitions"] if part["lag"]}
    return f"lag {behind}" if behind else ""


def keep_logs(rig: Rig) -> Path:
    """Write the daemons' logs where they stay, and return the folder."""
    folder = Path(tempfile.mkdtemp(prefix="runstep-kills-"))
    for number, member in enumerate(rig.members):
        (folder / f"daemon-{number}.log").write_text(member.daemon.log(10_000_000))
    return folder


def _claim(wrong: str) -> None:
    assert not wrong, wrong


def _lost(rig: Rig, truth: Truth) -> list[Origin]:
    """Return what has no row in the ledger, and what was rejected and has no dead letter."""
    rows = _rows(rig, "SELECT DISTINCT kafka_partition, kafka_offset FROM {db}.run_step_ledger")
    accounted = {(int(partition), int(offset)) for partition, offset in rows}
    headers = [dict(dead_letter.headers) for dead_letter in read_topic(rig.there.kafka, f"{rig.there.topic}.dlq")]
    dead_letters = {(int(said["runstep-partition"]), int(said["runstep-offset"])) for said in headers}
    records = {(partition, offset) for partition, offset, _ in truth.model.ledger}
    return sorted((records - accounted) | (truth._refused.keys() - dead_letters))


def _doubled(rig: Rig) -> list[Origin]:
    """Return where the later one of two stands that are seen."""
    place = "max((kafka_partition, kafka_offset)) AS place"
    found: set[Origin] = set()
    for table, key in VISIBLE.items():
        twice = f"SELECT {place} FROM {{db}}.{table} GROUP BY {key} HAVING count() > 1"  # noqa: S608 - the test's own names
        rows = _rows(rig, f"SELECT place.1, place.2 FROM ({twice})")  # noqa: S608 - same
        found |= {(int(partition), int(offset)) for partition, offset in rows}
    return sorted(found)


def _rows(rig: Rig, statement: str) -> list[list[Any]]:
    answer = rig.there.clickhouse.query(statement.replace("{db}", rig.there.database) + " FORMAT TSV")
    return [line.split("\t") for line in answer.splitlines()]


def _by_victim(rig: Rig, strikes: Iterable[Strike], places: Iterable[Origin]) -> dict[str, int]:
    numbers: defaultdict[str, int] = defaultdict(int)
    for partition, offset in places:
        after = (strike.victim for strike in strikes if rig.ends[strike.number].get(partition, 0) > offset)
        numbers[next(after, AFTER_ALL)] += 1
    return dict(numbers)
