"""Compares the ledger with the steps that queries see: is each step there, once, in the state of its latest event?

Both sides are read once, and meet by a hash of the step's key: 64 bits, in which two of ten million steps are the same
with a chance of one in 300,000.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from pipeline.tools.audit.account import MAX_EXAMPLES, StepAccount
from schemas.vocabulary import TERMINAL_STATUSES

Ask: TypeAlias = Callable[[str], Any]
"""Runs a query with `oldest`, the time before which a step may have been deleted, and `${audited}`; returns the rows.

The time is a number of milliseconds: a shard cannot read the text that another makes of a DateTime64.
"""

_MAX_LOOKUPS: Final = 5_000
"""Steps that are looked up by their hashes, so that the first ones become the examples."""

_KEY: Final = "cityHash64(thread_id, run_id, step_id)"
_ENDED: Final = "(status IN ({}))".format(", ".join(f"'{status}'" for status in sorted(TERMINAL_STATUSES)))
_UNKNOWN: Final = 2**64 - 1
"""State of a visible step that has ended without a time: it counts as up to date."""


def _state(time: str) -> str:
    """Return how far a row is, ordered as `version` is: ended, then time, then offset."""
    since = f"toUInt64(least(greatest(toUnixTimestamp64Milli({time}) - 946684800000, 0), 2199023255551))"
    return (
        f"bitOr(bitOr(bitShiftLeft({since}, 22), bitAnd(toUInt64(kafka_offset), 4194303)), "
        f"if({_ENDED}, toUInt64(9223372036854775808), toUInt64(0)))"
    )


_LEDGER_STATE: Final = _state("coalesce(occurred_at, toDateTime64(0, 3, 'UTC'))")
_VISIBLE_STATE: Final = f"if({_ENDED} AND ended_at IS NULL, {_UNKNOWN}, {_state('coalesce(ended_at, created_at)')})"
_STORED: Final = """outcome = 'stored' AND (${audited})
            AND toUnixTimestamp64Milli(coalesce(occurred_at, ingested_at)) > {oldest:Int64}"""
_JUDGED: Final = "((${audited}) AND toUnixTimestamp64Milli(coalesce(ended_at, created_at)) > {oldest:Int64})"

# A visible row adds 1 to its step's marks, and 2^32 where the ledger has to have it: one number instead of two.
_COMPARED: Final = f"""
SELECT sum(seen), countIf(seen > 1), countIf(gone), countIf(behind), countIf(alone),
    groupArrayIf({MAX_EXAMPLES})(key, seen > 1), groupArrayIf({_MAX_LOOKUPS})(key, gone),
    groupArrayIf({_MAX_LOOKUPS})(key, behind), groupArrayIf({_MAX_LOOKUPS})(key, alone)
FROM
(
    SELECT key, sum(mark) AS marks, max(visible) AS best, max(stored) AS known, bitAnd(marks, 4294967295) AS seen,
        seen = 0 AS gone, seen > 0 AND known > best AS behind,
        marks > 4294967295 AND (known = 0 OR (best > known AND best != {_UNKNOWN})) AS alone
    FROM
    (
        SELECT {_KEY} AS key, if({_JUDGED}, 4294967297, 1) AS mark, {_VISIBLE_STATE} AS visible, toUInt64(0) AS stored
        FROM run_steps_current
        UNION ALL
        SELECT {_KEY} AS key, toUInt64(0) AS mark, toUInt64(0) AS visible, {_LEDGER_STATE} AS stored
        FROM run_step_ledger
        WHERE {_STORED}
    )
    GROUP BY key
)
"""  # noqa: S608 - made of the constants above
_TWICE: Final = f"""
SELECT DISTINCT concat(thread_id, ' ', run_id, ' ', step_id) FROM run_steps_current WHERE {_KEY} IN (KEYS)
"""  # noqa: S608 - made of the constants above
_IN_LEDGER: Final = f"""
SELECT topic, partition, offset
FROM
(
    SELECT {_KEY} AS key, argMax((kafka_topic, kafka_partition, kafka_offset), {_LEDGER_STATE}) AS place,
        place.1 AS topic, place.2 AS partition, place.3 AS offset
    FROM run_step_ledger WHERE {_STORED} AND key IN (KEYS) GROUP BY key
)
ORDER BY topic, partition, offset LIMIT {MAX_EXAMPLES}
"""  # noqa: S608 - made of the constants above
_IN_STEPS: Final = f"""
SELECT kafka_topic, kafka_partition, kafka_offset FROM run_steps_current WHERE {_JUDGED} AND {_KEY} IN (KEYS)
ORDER BY kafka_topic, kafka_partition, kafka_offset LIMIT {MAX_EXAMPLES}
"""  # noqa: S608 - made of the constants above


def compared(ask: Ask) -> StepAccount:
    """Compare both tables."""
    ((steps, twice, gone, behind, alone, *keys),) = ask(_COMPARED)
    twice_keys, gone_keys, behind_keys, alone_keys = keys
    examples = {
        "seen_twice": [name for (name,) in _about(ask, _TWICE, twice_keys)],
        "without_row": _places(_about(ask, _IN_LEDGER, gone_keys)),
        "behind": _places(_about(ask, _IN_LEDGER, behind_keys)),
        "without_account": _places(_about(ask, _IN_STEPS, alone_keys)),
    }
    return StepAccount(steps, twice, gone, behind, alone, examples)


def _about(ask: Ask, query: str, keys: Sequence[int]) -> Any:
    return ask(query.replace("KEYS", ", ".join(map(str, keys)))) if keys else ()


def _places(rows: Iterable[tuple[str, int, int]]) -> list[str]:
    return [f"{topic}/{partition}:{offset}" for topic, partition, offset in rows]
