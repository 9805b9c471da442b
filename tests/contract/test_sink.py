"""What every `Sink` keeps to: the fake, ClickHouse over HTTP, and the embedded one."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink, connect
from pipeline.clickhouse.insert_proof import VIEWS
from pipeline.clickhouse.migrations import migrate
from pipeline.config import ClickHouseSettings
from pipeline.contracts import Sink, StepKey
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Partition
from schemas.row import INGEST_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS
from tests.support.fakes.rows import CREATED, columns_of, step_row, unstored_row
from tests.support.fakes.sink import FakeSink

P0 = Partition("run-steps", 0)
BAD_VALUES = [
    pytest.param({"prompt_tokens": 2**70}, id="number of 70 bits"),
    pytest.param({"tool_call_count": -1}, id="negative count"),
    pytest.param({"thread_id": None}, id="no text"),
    pytest.param({"step_details": "\ud800"}, id="lone surrogate"),
    pytest.param({"created_at": "yesterday"}, id="text for a time"),
    pytest.param({"metadata": {"a": 1}}, id="number in the map"),
    pytest.param({"duration_ms": 0.5}, id="fraction"),
]


class Embodied:
    """A `ClickHouseSink` with its tables, and a connection of the test's own to look at them."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._database = settings.database
        self._settings = settings
        self._client = connect(settings)
        self.migrate()
        self.sink: Sink = ClickHouseSink(lambda: settings)

    def drop(self, view: str) -> None:
        self._client.command(f"DROP VIEW `{self._database}`.{view} SYNC")

    def migrate(self) -> None:
        migrate(self._client, self._settings)

    def current(self) -> dict[StepKey, dict[str, Any]]:
        rows = self._select("run_steps_current", STEP_COLUMNS)
        return {(row["thread_id"], row["run_id"], row["step_id"]): row for row in rows}

    def ledger(self) -> list[dict[str, Any]]:
        return self._select("run_step_ledger FINAL", LEDGER_COLUMNS)

    def physical(self) -> tuple[int, int]:
        steps, ledger = (self._select(table, ("kafka_offset",)) for table in ("run_steps", "run_step_ledger"))
        return len(steps), len(ledger)

    def close(self) -> None:
        self.sink.close()
        self._client.command(f"DROP DATABASE IF EXISTS `{self._database}`")
        self._client.close()

    def _select(self, table: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
        sql = f"SELECT {', '.join(names)} FROM `{self._database}`.{table}"  # noqa: S608 - a test's own
        result = self._client.query(sql)
        return [dict(zip(names, map(_plain, row), strict=True)) for row in result.result_rows]


class Faked:
    """The fake, looked at through its views."""

    def __init__(self) -> None:
        self.sink: Sink = FakeSink()
        self._fake = self.sink

    def drop(self, view: str) -> None:
        self._fake.gone.add(view)

    def migrate(self) -> None:
        self._fake.gone.clear()

    def current(self) -> dict[StepKey, dict[str, Any]]:
        return self._fake.rows_current()

    def ledger(self) -> list[dict[str, Any]]:
        return list(self._fake.ledger().values())

    def physical(self) -> tuple[int, int]:
        return self._fake.physical_rows()

    def close(self) -> None:
        self.sink.close()


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


@pytest.fixture(params=["fake", "http", "embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Embodied | Faked]:
    made: Callable[[], Embodied | Faked] = Faked
    if request.param == "http":
        url, database = request.getfixturevalue("clickhouse").url, request.getfixturevalue("database")
        made = lambda: Embodied(ClickHouseSettings(url=SecretStr(url), database=database))  # noqa: E731
    elif request.param == "embedded":
        url = f"chdb:{tmp_path / 'data'}"
        made = lambda: Embodied(ClickHouseSettings(url=SecretStr(url)))  # noqa: E731
    store = made()
    yield store
    store.close()


def test_keeps_every_column_of_a_stored_row(store: Embodied | Faked) -> None:
    row = step_row(7, error_retryable=True, error_message="it's \t\n ünusual", reasoning_tokens=2**64 - 1)
    store.sink.insert(columns_of([row]), "a")
    fields = {column.name: value for column, value in zip(INGEST_COLUMNS, row, strict=True)}
    assert store.current()["thread_1", "run_1", "step_7"] == {name: fields[name] for name in STEP_COLUMNS}
    assert store.ledger() == [{name: fields[name] for name in LEDGER_COLUMNS}]


def test_accounts_for_rows_that_are_not_stored_and_shows_no_step(store: Embodied | Faked) -> None:
    rejected = unstored_row(2, outcome="dead_lettered", reason="invalid_json")
    store.sink.insert(columns_of([step_row(0), unstored_row(1), rejected]), "a")
    assert list(store.current()) == [("thread_1", "run_1", "step_0")]
    account = {row["kafka_offset"]: (row["outcome"], row["reason"]) for row in store.ledger()}
    assert account == {0: ("stored", ""), 1: ("ignored", "tombstone"), 2: ("dead_lettered", "invalid_json")}


def test_same_rows_with_same_token_are_stored_once(store: Embodied | Faked) -> None:
    columns = columns_of([step_row(offset) for offset in range(5)])
    for _ in range(3):
        store.sink.insert(columns, "a")
    assert store.physical() == (5, 5)


def test_a_token_hides_other_rows_too_so_it_must_name_its_content(store: Embodied | Faked) -> None:
    store.sink.insert(columns_of([step_row(0)]), "a")
    store.sink.insert(columns_of([step_row(1)]), "a")
    assert [row["kafka_offset"] for row in store.ledger()] == [0]


def test_same_rows_with_another_token_change_nothing_that_can_be_seen(store: Embodied | Faked) -> None:
    columns = columns_of([step_row(0), unstored_row(1)])
    store.sink.insert(columns, "a")
    before = store.current(), store.ledger()
    store.sink.insert(columns, "b")
    assert (store.current(), store.ledger()) == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "out of order"])
def test_higher_version_is_current_in_whatever_order_it_comes(store: Embodied | Faked, order: tuple[int, int]) -> None:
    rows = [
        step_row(0, step_id="step", status="in_progress", version=1),
        step_row(1, step_id="step", status="completed", version=2),
    ]
    for index in order:
        store.sink.insert(columns_of([rows[index]]), f"token {index}")
    assert store.current()["thread_1", "run_1", "step"]["status"] == "completed"
    assert len(store.ledger()) == 2


def test_both_versions_in_one_insert_leave_the_higher_one(store: Embodied | Faked) -> None:
    rows = [step_row(offset, step_id="step", version=version) for offset, version in ((0, 2), (1, 1))]
    store.sink.insert(columns_of(rows), "a")
    assert store.current()["thread_1", "run_1", "step"]["version"] == 2


def test_a_superseded_row_is_accounted_for_and_is_no_step(store: Embodied | Faked) -> None:
    rows = [step_row(0, step_id="step", version=1, is_superseded=True), step_row(1, step_id="step", version=2)]
    store.sink.insert(columns_of(rows), "a")
    assert [row["version"] for row in store.current().values()] == [2]
    assert [row["outcome"] for row in store.ledger()] == ["stored", "stored"]
    assert store.physical() == (1, 2)


def test_a_superseded_row_counts_as_one_that_is_not_copied_into_the_steps(store: Embodied | Faked) -> None:
    """An insert of such rows alone is believed, although `run_steps` got none of them."""
    store.sink.insert(columns_of([step_row(0)]), "a")
    store.sink.insert(columns_of([step_row(1, is_superseded=True)]), "b")
    assert store.physical() == (1, 2)


def test_steps_of_one_record_are_accounted_one_by_one(store: Embodied | Faked) -> None:
    rows = [step_row(0, step_index=index, step_id=f"step_{index}") for index in range(3)]
    store.sink.insert(columns_of(rows), "a")
    assert len(store.current()) == len(store.ledger()) == 3


def test_leaves_the_columns_to_the_caller_for_the_next_attempt(store: Embodied | Faked) -> None:
    columns = columns_of([step_row(0), unstored_row(1)])
    store.sink.insert(columns, "a")
    assert columns == columns_of([step_row(0), unstored_row(1)])


@pytest.mark.parametrize("change", BAD_VALUES)
def test_rejects_a_value_that_does_not_fit_and_stores_none_of_its_batch(
    store: Embodied | Faked, change: dict[str, Any]
) -> None:
    rows = [step_row(offset, **(change if offset == 2 else {})) for offset in range(4)]
    with pytest.raises(SinkRefused) as caught:
        store.sink.insert(columns_of(rows), "a")
    assert caught.value.error_class is ErrorClass.SCHEMA
    assert next(iter(change)) in str(caught.value)
    assert store.physical() == (0, 0)
    store.sink.insert(columns_of([rows[0]]), "b")
    assert store.physical() == (1, 1)


def test_inserting_nothing_does_nothing(store: Embodied | Faked) -> None:
    store.sink.insert([[] for _ in INGEST_COLUMNS], "a")
    assert store.physical() == (0, 0)


def test_counted_steps_are_those_that_ended_below_the_offset_latest_first(store: Embodied | Faked) -> None:
    rows = [
        step_row(0),
        step_row(1, status="failed"),
        step_row(2, status="in_progress"),
        unstored_row(3),
        step_row(4, step_id="step_0"),
        step_row(5, kafka_partition=1),
        step_row(5, kafka_topic="others"),
        step_row(6),
    ]
    store.sink.insert(columns_of(rows), "a")
    ids = [key[2] for key in store.sink.counted_steps(P0, 6, 10)]
    assert ids == ["step_0", "step_1"]
    assert [key[2] for key in store.sink.counted_steps(P0, 7, 2)] == ["step_6", "step_0"]
    assert store.sink.counted_steps(P0, 0, 10) == []
    assert [tuple(key) for key in store.sink.counted_steps(Partition("others", 0), 9, 9)] == [
        ("thread_1", "run_1", "step_5")
    ]


def test_an_end_that_lies_ahead_of_its_record_was_not_counted(store: Embodied | Faked) -> None:
    forged = 10_382_256_000_000
    rows = [
        step_row(0, occurred_at=forged),
        step_row(1, occurred_at=forged, kafka_timestamp=forged),
        step_row(2, kafka_timestamp=1),
        step_row(3, occurred_at=None),
        step_row(4, occurred_at=CREATED + 3_600_000, kafka_timestamp=CREATED),
        step_row(5, occurred_at=CREATED + 3_600_001, kafka_timestamp=CREATED),
    ]
    store.sink.insert(columns_of(rows), "a")
    assert [key[2] for key in store.sink.counted_steps(P0, 9, 9)] == ["step_4", "step_3", "step_2", "step_1"]


def test_steps_of_hundreds_of_months_pass_in_one_insert(store: Embodied | Faked) -> None:
    month = 2_629_800_000
    rows = [step_row(offset, created_at=CREATED - offset * month) for offset in range(150)]
    store.sink.insert(columns_of(rows), "a")
    assert store.physical() == (150, 150)


def test_probe_is_content_when_all_is_there(store: Embodied | Faked) -> None:
    store.sink.probe()


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_no_insert_is_believed_while_a_view_is_gone_and_the_same_insert_heals(
    store: Embodied | Faked, view: str
) -> None:
    store.sink.insert(columns_of([step_row(0)]), "a")
    store.drop(view)
    columns = columns_of([step_row(1), unstored_row(2)])
    for attempt in (lambda: store.sink.insert(columns, "b"), store.sink.probe, lambda: store.sink.insert(columns, "b")):
        with pytest.raises(SinkUnavailable, match=rf"{view} is missing.*; run `runstep migrate`") as caught:
            attempt()
        assert caught.value.error_class is ErrorClass.ENVIRONMENT
    store.migrate()
    store.sink.probe()
    store.sink.insert(columns, "b")
    assert (len(store.current()), len(store.ledger()), store.physical()) == (2, 3, (2, 3))


def test_can_be_used_again_after_close(store: Embodied | Faked) -> None:
    store.sink.insert(columns_of([step_row(0)]), "a")
    store.sink.close()
    store.sink.insert(columns_of([step_row(1)]), "b")
    store.sink.close()
    assert store.physical() == (2, 2)
