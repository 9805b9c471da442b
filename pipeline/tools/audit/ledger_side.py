"""ClickHouse's side of an audit: which offsets the ledger has, and whether the steps agree with it.

Offsets are compared as bitmaps, and steps (in `step_states`) as numbers: ten million rows take seconds and fit into the
memory limit of a reader. Needs SELECT on `run_step_ledger` and `run_steps_current`, as runstep_reader has it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.config import ClickHouseSettings
from pipeline.errors import ServiceUnavailable
from pipeline.records import Outcome, Partition
from pipeline.tools.audit import step_states
from pipeline.tools.audit.account import StepAccount

_SPILL_BYTES: Final = 1_300_000_000
"""Memory of a GROUP BY above which the server spills to disk; ten million events of three million steps need less."""
_ANSWER_TIMEOUT_S: Final = 600.0
"""Time-out of a query; the most that runstep_reader may set."""
SETTINGS: Final = {"max_execution_time": int(_ANSWER_TIMEOUT_S), "max_bytes_before_external_group_by": _SPILL_BYTES}
"""The settings of each query."""
_TTL_MARGIN_DAYS: Final = 1
_DAY_MS: Final = 86_400_000
_BEFORE_ALL_TIME: Final = -(2**62)

_OFFSETS: Final = """
SELECT count(), min(kafka_offset), max(kafka_offset), groupBitmap(toUInt64(kafka_offset)),
    bitmapCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'dead_lettered') AS dead),
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'stored') AS stored, dead),
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'ignored'), bitmapOr(stored, dead))
FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32}
    AND kafka_offset >= {first:Int64} AND kafka_offset < {below:Int64}
"""
_KEPT: Final = """
SELECT count(), min(kafka_offset) FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32}
    AND toUnixTimestamp64Milli(ingested_at) > {oldest:Int64}
"""
_BEYOND: Final = """
SELECT groupBitmap(toUInt64(kafka_offset)) FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32} AND kafka_offset >= {below:Int64}
"""
_LAST: Final = """
SELECT count(), max(kafka_offset) FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32}
"""
_SEVERAL: Final = """
SELECT countIf(again AND kafka_timestamp = stamp AND step_index = index),
    groupBitmapIf(toUInt64(kafka_offset), again AND kafka_timestamp != stamp)
FROM
(
    SELECT kafka_offset, kafka_timestamp, step_index,
        lagInFrame(kafka_offset, 1, -1) OVER before = kafka_offset AS again,
        lagInFrame(kafka_timestamp) OVER before AS stamp, lagInFrame(step_index) OVER before AS index
    FROM run_step_ledger
    WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32}
        AND kafka_offset >= {first:Int64} AND kafka_offset < {below:Int64}
    WINDOW before AS (
        ORDER BY kafka_offset, kafka_timestamp, step_index ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
"""
_RANGES: Final = """
SELECT previous + 1, kafka_offset - 1
FROM
(
    SELECT kafka_offset, lagInFrame(kafka_offset, 1, {first:Int64} - 1) OVER (
        ORDER BY kafka_offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous
    FROM run_step_ledger
    WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32}
        AND kafka_offset >= {first:Int64} AND kafka_offset < {below:Int64}
)
WHERE kafka_offset > previous + 1
ORDER BY kafka_offset
LIMIT {limit:UInt64}
"""
_DEAD_LETTERED: Final = """
SELECT kafka_topic, kafka_partition, kafka_offset, toUnixTimestamp64Milli(max(ingested_at)) FROM run_step_ledger
WHERE outcome = 'dead_lettered' AND (${audited})
GROUP BY kafka_topic, kafka_partition, kafka_offset
LIMIT {limit:UInt32}
"""


class Known(NamedTuple):
    """What the ledger has of a partition below the committed offset; see `PartitionAccount`."""

    rows: int
    first: int
    last: int
    offsets: int
    outcomes: Mapping[str, int]


class LedgerSide:
    """Reads from one database."""

    def __init__(self, settings: ClickHouseSettings, client: Any) -> None:
        self._settings = settings
        self._client = client

    def known(self, partition: Partition, first: int, below: int) -> Known | None:
        """Return what the ledger has between two offsets; None where it has nothing."""
        parameters = self._of(partition, first=first, below=below)
        ((rows, low, high, offsets, dead, stored, ignored),) = self._ask(_OFFSETS, parameters)
        if not rows:
            return None
        numbers = {Outcome.STORED.value: stored, Outcome.DEAD_LETTERED.value: dead, Outcome.IGNORED.value: ignored}
        return Known(rows, low, high, offsets, numbers)

    def kept(self, partition: Partition, below: int) -> int:
        """Return the first offset below `below` from which on `clickhouse.retention_days` has deleted nothing."""
        if not self._settings.retention_days:
            return 0
        ((rows, first),) = self._ask(_KEPT, {**self._of(partition), "oldest": self._oldest()})
        return min(first, below) if rows else below

    def several(self, partition: Partition, first: int, below: int) -> tuple[int, int]:
        """Return how many rows are repeats of others, and how many offsets have several timestamps."""
        ((repeated, recreated),) = self._ask(_SEVERAL, self._of(partition, first=first, below=below))
        return repeated, recreated

    def beyond(self, partition: Partition, below: int) -> int:
        """Return how many offsets the ledger has from an offset on."""
        ((number,),) = self._ask(_BEYOND, self._of(partition, below=below))
        return int(number)

    def last(self, partition: Partition) -> int | None:
        """Return the last offset that the ledger has; None where it has nothing."""
        ((rows, last),) = self._ask(_LAST, self._of(partition))
        return int(last) if rows else None

    def missing(self, partition: Partition, first: int, below: int, limit: int) -> list[tuple[int, int]]:
        """Return ranges of offsets (first and last) between two offsets that the ledger has no row of: the first ones.

        Their number may be `limit` and one more.
        """
        parameters = self._of(partition, first=first, below=below, limit=limit)
        ranges = [(low, high) for low, high in self._ask(_RANGES, parameters)]
        known = self.known(partition, first, below)
        last = max(known.last, first - 1) if known is not None else first - 1
        if last + 1 < below:
            ranges.append((last + 1, below - 1))
        return ranges

    def dead_lettered(
        self, audited: Mapping[Partition, tuple[int, int]], limit: int
    ) -> dict[tuple[str, int, int], int]:
        """Return the origins with outcome dead_lettered, and the time of each row in milliseconds."""
        rows = self._ask(_DEAD_LETTERED, {"limit": limit}, audited)
        return {(topic, number, offset): when for topic, number, offset, when in rows}

    def steps(self, audited: Mapping[Partition, tuple[int, int]]) -> StepAccount:
        """Compare the ledger with the steps that users see, in the audited offsets."""

        def ask(query: str) -> Any:
            return self._ask(query, {"oldest": self._oldest()}, audited)

        return step_states.compared(ask)

    def _oldest(self) -> int:
        """Return the time, in milliseconds, before which `clickhouse.retention_days` may have deleted something."""
        days = self._settings.retention_days
        if not days:
            return _BEFORE_ALL_TIME
        ((now,),) = self._ask("SELECT toUnixTimestamp64Milli(now64(3))", {})
        return int(now) - max(days - _TTL_MARGIN_DAYS, 0) * _DAY_MS

    def _of(self, partition: Partition, **more: int) -> dict[str, Any]:
        return {"topic": partition.topic, "partition": partition.number, **more}

    def _ask(
        self, query: str, parameters: Mapping[str, Any], audited: Mapping[Partition, tuple[int, int]] | None = None
    ) -> Any:
        parameters = dict(parameters)
        if audited is not None:
            query = query.replace("${audited}", _condition(audited, parameters))
        try:
            return self._client.query(query, parameters=parameters, settings=SETTINGS).result_rows
        except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through
            failure = sink_error(error, address(self._settings))
            raise ServiceUnavailable(f"ClickHouse does not answer the audit: {failure}") from None


def _condition(audited: Mapping[Partition, tuple[int, int]], parameters: dict[str, Any]) -> str:
    """Return the condition that a row's offset is audited; topics become parameters."""
    conditions = []
    for index, (partition, (low, high)) in enumerate(audited.items()):
        parameters[f"topic{index}"] = partition.topic
        topic = f"kafka_topic = {{topic{index}:String}} AND kafka_partition = {int(partition.number)}"
        conditions.append(f"({topic} AND kafka_offset >= {int(low)} AND kafka_offset < {int(high)})")
    return " OR ".join(conditions) or "0"


@contextmanager
def open_ledger_side(settings: ClickHouseSettings) -> Iterator[LedgerSide]:
    """Connect to ClickHouse while the block runs.

    Raises:
        ServiceUnavailable: ClickHouse is away or denies access.
    """
    patient = settings.model_copy(update={"insert_timeout": max(settings.insert_timeout, _ANSWER_TIMEOUT_S)})
    client = connect(patient, patient.database)
    try:
        yield LedgerSide(patient, client)
    finally:
        client.close()
