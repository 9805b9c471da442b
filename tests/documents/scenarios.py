"""The failure scenarios by number, the codes of the oracle, and which tests hold them."""

import re
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from tests.documents.tables import table
from tests.simulation.mutants import ALL, RARE
from tests.support.paths import ROOT

TESTS: Final = ROOT / "tests"

GROUPS: Final = {
    1: "Rebalance and ownership",
    9: "Crashes and ambiguous answers",
    23: "Faults of ClickHouse",
    39: "Faults of Kafka",
    52: "Poisoned data",
    62: "Process and operation",
    73: "What trying the product broke",
}
"""The number with which each group begins."""

SCENARIOS: Final = {
    1: "A second member joins while a batch is half full: unflushed rows are dropped or written, never both.",
    2: "Partitions are revoked while an insert is in flight: no commit afterwards, no row twice.",
    3: "A member is frozen past its session and wakes up after another took over: its late commit counts for nothing.",
    4: "Partitions are lost instead of revoked: no commit is tried, buffers are dropped.",
    5: "Ten rolling restarts, with and without static membership: the lag recovers, nothing is seen twice.",
    6: "A cooperative rebalance: partitions that stay keep flowing.",
    7: "Partitions are added: they are read from their first record.",
    8: "The group coordinator moves while members come and go: the daemon survives.",
    9: "`kill -9` after an insert was stored and before its commit.",
    10: "`kill -9` while an insert is sent and not stored.",
    11: "The server stores the insert and cuts the connection before the answer: the retry doubles nothing.",
    12: "The server stores the insert and never answers.",
    13: "A retry arrives while the first try still runs (error 216): it waits, then is deduplicated.",
    14: "A view's target table throws on the first try and works on the second: the rest is added, nothing doubled.",
    15: "Records are inserted again after the deduplication window expired.",
    16: "A table has no deduplication window: the daemon writes nothing there, or warns, and names the table.",
    17: "A topic is deleted and recreated: other records at the same offsets are read, not taken for repeats.",
    18: "An operator rewinds the group: what is read again changes no row.",
    19: "`kill -9` in the middle of a batch that was split.",
    20: "A batch spans several table partitions and one of them fails: the retry adds what is missing.",
    21: "A user profile forces `async_insert = 1`: the daemon overrules it.",
    22: "`kill -9` with memory at its peak: the restart reads nothing before rows have a place to go.",
    23: "Too many parts (error 252): back-off, no drop, not ready.",
    24: "A batch has more months than an insert may have partitions: it still passes whole.",
    25: "A replica is read-only, or Keeper is away: the daemon waits.",
    26: "A memory limit (error 241) above some batch size: inserts shrink below it and grow back.",
    27: "The disk is full: memory stays flat, the lag grows, nothing is dropped.",
    28: "A table is missing and is created later: nothing is lost, `/readyz` names it.",
    29: "A column is added, or a table changes so that it rejects rows: only rejected rows become dead letters.",
    30: "The password changes until its file changes too: the file is read again, without a restart.",
    31: "An insert takes twice `max_poll_interval`: polling continues, so no rebalance.",
    32: "A server accepts connections and never answers: the time-out ends it, liveness stays ok.",
    33: "One of ten inserts is answered with HTTP 500.",
    34: "The server is overloaded (202, 203, 429, 503): back-off with jitter.",
    35: "A balancer sends the retry to another, non-replicated server.",
    36: "The TLS certificate and its authority are rotated: new connections follow.",
    37: "A migration runs while members write: no dead letter comes of it.",
    38: "ClickHouse still fails when it is probed: one small query, no full batch.",
    39: "Brokers are away while offsets are committed: the commit is retried, nothing is doubled.",
    40: "All brokers move to another address, and back.",
    41: "Retention deleted records before they were read: exactly these offsets are counted as lost.",
    42: "A log was truncated below what was read, and filled otherwise (unclean leader election).",
    43: "Aborted transactions, control records and compaction leave gaps: gaps are not loss.",
    44: "Tombstones, empty values and records without a key are accounted for.",
    45: "Records larger than one fetch pass; those above the limit are dead-lettered.",
    46: "A record batch is damaged (checksum): it is dead-lettered by offset, the partition is read on.",
    47: "A credential expires, or an ACL is taken away: the daemon waits and names it.",
    48: "One partition has most of the traffic: it starves no other.",
    49: "A topic holds ignored records only: it is read to its end.",
    50: "One lone record: it is visible within `batch.max_age`.",
    51: "Another program uses the same group id: it is named.",
    52: "One row that only ClickHouse rejects: all others are stored, with few inserts.",
    53: "A flood of bad records: its partition halts, the dead-letter topic is not flooded.",
    54: "The dead-letter topic is deleted: nothing is committed past a bad record.",
    55: "A dead letter is too large for its topic: it is cut, and says so.",
    56: "A replay of dead letters runs twice, or is killed: each record comes back once.",
    57: "Hostile bytes: broken UTF-8, deep JSON, huge numbers, NaN, duplicate keys, lone surrogates.",
    58: "Unknown types, statuses and fields are kept and counted.",
    59: "Repeated and disordered events of a step: the right state is current, the step counts once.",
    60: "Wrong clocks: flagged, not dropped, and not in the duration histogram.",
    61: "Secrets in error texts reach neither tables, logs nor headers.",
    62: "SIGTERM at bad moments, and twice: it ends in time and commits nothing unwritten.",
    63: "SIGTERM while the daemon starts or the group rebalances.",
    64: "Settings or secret files that cannot be read again: the former ones stay.",
    65: "The metrics port is taken, or a scrape hangs: no record is affected.",
    66: "20,000 distinct names of types, assistants and models: no new series, no more memory.",
    67: "A process is killed before it counted what it wrote: the step is still counted once.",
    68: "A thread dies: the process ends and commits nothing more. Without the HTTP thread records flow, probes fail.",
    69: "A backlog larger than memory: it is read in large batches.",
    70: "A second group writes the same rows to the same tables: nothing changes.",
    71: "An upgrade and a rollback with written but uncommitted rows: the other version finishes them.",
    72: "The group's committed offsets are lost or nonsense: rows are read again, none is doubled.",
    73: "Records of a few kilobytes that become gigabytes: each is accounted for, and memory stays within its bound.",
    74: "Keys of 900 kB while ClickHouse hangs: memory stays bounded.",
    75: "A record whose texts cost minutes to search: it is given up in part, the partition flows on.",
    76: "A view is dropped, under load or before the start: no row is lost, it is named, `runstep migrate` heals.",
    77: "An answer is OK and an exception, or OK and too few rows, written or not: it is not believed.",
    78: "The way cuts long requests, is slow, or the server dies of a batch: inserts shrink until they get through.",
    79: "A producer's transaction hangs: it is named by all, and what waits behind it flows after its abort.",
    80: "A broker's quota slows reading: the daemon is ready while data flows, and says how long it was made to wait.",
    81: "A worker of several is killed: its next process goes on with its partitions, the others flow on.",
}

NOT_COVERED: Final = {
    35: "no test: no replicas run here. The tables are keyed, so a row that is stored twice is seen once; with the "
    "`replicated` variant the daemon sends `insert_quorum` with every insert",
}
"""Scenarios without a test, and why."""

CODES: Final = {
    "I1": "no loss: each offset is in the tables, in the dead letters, or ignored; what is reported lost is lost",
    "I2": "no visible duplicate: the ledger shows each offset once, `run_steps` each step once",
    "I3": "the tables tell the truth: both hold what the independent model says, and the latest state of each step",
    "I4": "accounting: each record has one outcome, and each step is counted once",
    "I5": "the commit is never ahead of what is durable, also in the middle of a fault",
    "I6": "memory stays bounded",
    "I7": "health is right: `/readyz` names the cause while there is one, `/healthz` stays ok",
    "I8": "the daemon recovers without help once the fault is over",
    "I9": "the log quotes no record value and no secret",
    "L1": "liveness: when all faults are lifted, everything that was produced is done in bounded time",
    "L2": "liveness: every process that is asked to end does end",
    "B1": "a bug: a process ended by an exception that is none of the injected faults",
}

_TEST: Final = re.compile(r"^def test_((?:\d\d_)+)\w+\(", re.MULTILINE)


def held_by_number() -> dict[int, list[str]]:
    """Return the files that test each scenario, as paths below `tests/`, by the numbers in the tests' names."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for numbers in _TEST.findall(path.read_text(encoding="utf-8")):
            for number in numbers.strip("_").split("_"):
                found[int(number)].add(path.relative_to(TESTS).as_posix())
    return {number: sorted(files) for number, files in found.items()}


def scenario_table() -> str:
    """Return the scenarios, a table for each group."""
    held = held_by_number()
    starts = [*GROUPS, max(SCENARIOS) + 1]
    parts = []
    for start, end in pairwise(starts):
        rows = [
            (
                f"{number:02d}",
                SCENARIOS[number],
                ", ".join(f"[{name.rpartition('/')[2]}]({name})" for name in held[number]),
            )
            if number in held
            else (f"{number:02d}", SCENARIOS[number], NOT_COVERED[number])
            for number in SCENARIOS
            if start <= number < end
        ]
        parts.append(f"**{GROUPS[start]}**\n\n" + table(("test", "what happens, and what must hold", "where"), rows))
    return "\n\n".join(parts)


def code_table() -> str:
    """Return the codes with which the judges name a violation."""
    return table(("code", "meaning"), CODES.items())


def mutant_table() -> str:
    """Return the wrong daemons that the simulation must catch."""

    def said(mutant: Callable[[], Any]) -> str:
        return " ".join((mutant.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")

    return table(
        ("mutant", "what it does wrong"), ((f"`{name}`", said(mutant)) for name, mutant in (ALL | RARE).items())
    )
