"""What ClickHouse says for an audit: which offsets the ledger has, and whether the steps go with it.

Offsets are compared as bitmaps and steps as hashes, a share of them at a time: ten million rows take seconds and stay
within a reader's memory. Needs SELECT on `run_step_ledger` and `run_steps_current`, as runstep_reader has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from pipeline.audit.account import StepAccount
from pipeline.config import ClickHouseSettings
from pipeline.errors import ServiceUnavailable, SinkError
from pipeline.records import Outcome, Partition
from pipeline.sink.classify import sink_error
from pipeline.sink.client import address, connect

EXAMPLES: Final = 10
MOST_RANGES: Final = 100_000
"""Ranges of missing offsets that are asked for in a partition."""
_STEPS_AT_ONCE: Final = 20_000_000
"""Steps whose hashes are held in memory at a time; they take about 40 bytes each."""
_TTL_MARGIN_DAYS: Final = 1
_ANSWER_TIMEOUT: Final = 600.0

_OFFSETS: Final = """
SELECT count(), min(kafka_offset), max(kafka_offset), groupBitmap(toUInt64(kafka_offset)),
    bitmapCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'dead_lettered') AS dead),
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'stored') AS stored, dead),
    bitmapAndnotCardinality(groupBitmapStateIf(toUInt64(kafka_offset), outcome = 'ignored'), bitmapOr(stored, dead))
FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32} AND kafka_offset < {below:Int64}
"""
_BEYOND: Final = """
SELECT groupBitmap(toUInt64(kafka_offset)) FROM run_step_ledger
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32} AND kafka_offset >= {below:Int64}
"""
_SEVERAL: Final = """
SELECT sum(rows) - sum(keys), countIf(stamps > 1)
FROM
(
    SELECT count() AS rows, uniqExact(kafka_timestamp, step_index) AS keys, uniqExact(kafka_timestamp) AS stamps
    FROM run_step_ledger
    WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32} AND kafka_offset < {below:Int64}
    GROUP BY kafka_topic, kafka_partition, kafka_offset
    HAVING rows > 1
    SETTINGS optimize_aggregation_in_order = 1
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
LIMIT {limit:UInt32}
"""
_LETTERS: Final = """
SELECT DISTINCT kafka_topic, kafka_partition, kafka_offset FROM run_step_ledger
WHERE outcome = 'dead_lettered' AND (${audited})
LIMIT {limit:UInt32}
"""
_STEPS: Final = """
SELECT count(), count() - uniqExact(cityHash64(thread_id, run_id, step_id)) FROM run_steps_current
"""
_TWICE: Final = """
SELECT concat(thread_id, ' ', run_id, ' ', step_id) FROM run_steps_current
GROUP BY thread_id, run_id, step_id HAVING count() > 1 LIMIT {limit:UInt32}
"""
_WITHOUT_ROW: Final = """
SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) AS number,
    groupUniqArray({limit:UInt32})(concat(kafka_topic, '/', kafka_partition, ':', kafka_offset))
FROM run_step_ledger
WHERE outcome = 'stored' AND (${audited}) AND coalesce(occurred_at, ingested_at) > {oldest:DateTime64(3, 'UTC')}
    AND cityHash64(thread_id, run_id, step_id) % {shares:UInt32} = {share:UInt32}
    AND cityHash64(thread_id, run_id, step_id) NOT IN
    (
        SELECT cityHash64(thread_id, run_id, step_id) FROM run_steps_current
        WHERE cityHash64(thread_id, run_id, step_id) % {shares:UInt32} = {share:UInt32}
    )
"""
_WITHOUT_ACCOUNT: Final = """
SELECT steps.kafka_topic, steps.kafka_partition, bitmapAndnotCardinality(steps.offsets, known.offsets) AS number,
    bitmapToArray(bitmapSubsetLimit(bitmapAndnot(steps.offsets, known.offsets), 0, {limit:UInt32}))
FROM
(
    SELECT kafka_topic, kafka_partition, groupBitmapState(toUInt64(kafka_offset)) AS offsets
    FROM run_steps_current WHERE ${audited} GROUP BY kafka_topic, kafka_partition
) AS steps
LEFT JOIN
(
    SELECT kafka_topic, kafka_partition, groupBitmapState(toUInt64(kafka_offset)) AS offsets
    FROM run_step_ledger WHERE outcome = 'stored' AND (${audited}) GROUP BY kafka_topic, kafka_partition
) AS known USING (kafka_topic, kafka_partition)
WHERE number > 0
"""


class Known(NamedTuple):
    """What the ledger has of a partition below the committed offset; the rest as in `PartitionAccount`."""

    rows: int
    first: int
    last: int
    offsets: int
    outcomes: Mapping[str, int]


class Tables:
    """Questions to one database."""

    def __init__(self, settings: ClickHouseSettings, client: Any) -> None:
        self._settings = settings
        self._client = client

    def known(self, partition: Partition, below: int) -> Known | None:
        """Return what the ledger has below an offset; None where it has nothing."""
        ((rows, first, last, offsets, dead, stored, ignored),) = self._ask(_OFFSETS, self._of(partition, below=below))
        if not rows:
            return None
        numbers = {Outcome.STORED.value: stored, Outcome.DEAD_LETTERED.value: dead, Outcome.IGNORED.value: ignored}
        return Known(rows, first, last, offsets, numbers)

    def several(self, partition: Partition, below: int) -> tuple[int, int]:
        """Return how many rows are repeats of others, and how many offsets have several timestamps."""
        ((repeated, recreated),) = self._ask(_SEVERAL, self._of(partition, below=below))
        return repeated or 0, recreated

    def beyond(self, partition: Partition, below: int) -> int:
        """Return how many offsets the ledger has from an offset on."""
        ((number,),) = self._ask(_BEYOND, self._of(partition, below=below))
        return int(number)

    def missing(self, partition: Partition, first: int, below: int) -> list[tuple[int, int]]:
        """Return the ranges of offsets (first and last) between two offsets that the ledger has no row of."""
        parameters = self._of(partition, first=first, below=below, limit=MOST_RANGES)
        ranges = [(low, high) for low, high in self._ask(_RANGES, parameters)]
        known = self.known(partition, below)
        last = max(known.last, first - 1) if known is not None else first - 1
        if last + 1 < below:
            ranges.append((last + 1, below - 1))
        return ranges

    def dead_lettered(self, audited: Mapping[Partition, tuple[int, int]], limit: int) -> list[tuple[str, int, int]]:
        """Return the origins that the ledger calls dead-lettered."""
        return [tuple(row) for row in self._ask(_LETTERS, {"limit": limit}, audited)]

    def steps(self, audited: Mapping[Partition, tuple[int, int]]) -> StepAccount:
        """Compare the ledger with the steps that users see, in the audited offsets."""
        ((number, twice),) = self._ask(_STEPS, {})
        account = StepAccount(number, twice)
        examples: dict[str, Sequence[str]] = {}
        if twice:
            examples["seen_twice"] = [row[0] for row in self._ask(_TWICE, {"limit": EXAMPLES})]
        if any(low < high for low, high in audited.values()):
            account.without_row, examples["without_row"] = self._without_row(audited, number)
            account.without_account, examples["without_account"] = self._without_account(audited)
        account.examples = examples
        return account

    def _without_row(self, audited: Mapping[Partition, tuple[int, int]], steps: int) -> tuple[int, list[str]]:
        shares = steps // _STEPS_AT_ONCE + 1
        number, examples = 0, []
        for share in range(shares):
            parameters = {"shares": shares, "share": share, "limit": EXAMPLES, "oldest": self._oldest()}
            ((found, named),) = self._ask(_WITHOUT_ROW, parameters, audited)
            number += found
            examples += named
        return number, examples[:EXAMPLES]

    def _without_account(self, audited: Mapping[Partition, tuple[int, int]]) -> tuple[int, list[str]]:
        rows = self._ask(_WITHOUT_ACCOUNT, {"limit": EXAMPLES}, audited)
        examples = [f"{topic}/{number}:{offset}" for topic, number, _, offsets in rows for offset in offsets]
        return sum(row[2] for row in rows), examples[:EXAMPLES]

    def _oldest(self) -> str:
        """Return the time before which a step may have been deleted by `clickhouse.retention_days`."""
        days = self._settings.retention_days
        if not days:
            return "1970-01-01 00:00:00"
        ((oldest,),) = self._ask(
            "SELECT toString(now64(3, 'UTC') - toIntervalDay({days:UInt32}))", {"days": max(days - _TTL_MARGIN_DAYS, 0)}
        )
        return str(oldest)

    def _of(self, partition: Partition, **more: int) -> dict[str, Any]:
        return {"topic": partition.topic, "partition": partition.number, **more}

    def _ask(
        self, query: str, parameters: Mapping[str, Any], audited: Mapping[Partition, tuple[int, int]] | None = None
    ) -> Any:
        parameters = dict(parameters)
        if audited is not None:
            query = query.replace("${audited}", _condition(audited, parameters))
        try:
            return self._client.query(query, parameters=parameters, settings={"max_execution_time": 0}).result_rows
        except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through
            failure = sink_error(error, address(self._settings))
            raise ServiceUnavailable(f"ClickHouse does not answer the audit: {failure}") from None


def _condition(audited: Mapping[Partition, tuple[int, int]], parameters: dict[str, Any]) -> str:
    """Return the condition that a row's offset is audited; topics become parameters."""
    said = []
    for index, (partition, (low, high)) in enumerate(audited.items()):
        parameters[f"topic{index}"] = partition.topic
        topic = f"kafka_topic = {{topic{index}:String}} AND kafka_partition = {int(partition.number)}"
        said.append(f"({topic} AND kafka_offset >= {int(low)} AND kafka_offset < {int(high)})")
    return " OR ".join(said) or "0"


@contextmanager
def connected(settings: ClickHouseSettings) -> Iterator[Tables]:
    """Connect, and release the connection at the end.

    Raises:
        ServiceUnavailable: ClickHouse is away, or does not let us in.
    """
    patient = settings.model_copy(update={"insert_timeout": max(settings.insert_timeout, _ANSWER_TIMEOUT)})
    try:
        client = connect(patient, patient.database)
    except SinkError as error:
        raise ServiceUnavailable(str(error)) from None
    try:
        yield Tables(patient, client)
    finally:
        client.close()
