"""Rows that a newer row of the same step replaces: which they are, how they are sent, what a rejection does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.daemon.batch import Assignment, Batch
from pipeline.daemon.superseded import IS_SUPERSEDED, LEFT_OUT, first_current, superseded
from pipeline.metrics.counts import CountedSteps, tally
from pipeline.records import Partition
from schemas.row import INDEX, INGEST_COLUMNS, Row
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import CREATED, columns_of, normalized, step_row, unstored_row
from tests.support.fakes.sink import FakeSink, Fields
from tests.support.insertion_rig import TOPIC, Rig

HOUR = 3_600_000
STEPS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    step_id=st.sampled_from(["a", "b", "c"]),
    run_id=st.sampled_from(["r", "s"]),
    created_at=st.sampled_from([CREATED, CREATED + 1, CREATED + HOUR]),
    version=st.integers(0, 4),
)


def rows_of(changes: list[dict[str, Any]]) -> list[Row]:
    return [
        step_row(offset, **change) if "step_id" in change else unstored_row(offset)
        for offset, change in enumerate(changes)
    ]


def batch_of(*parts: list[Row]) -> Batch:
    batch = Batch()
    for number, rows in enumerate(parts):
        records = [FakeRecord(TOPIC, number, offset, 1_000, b"k", b"v") for offset in range(len(rows))]
        batch.part(Assignment(Partition(TOPIC, number))).extend(normalized(rows, records))
    batch.seal(1_790_000_000.0)
    return batch


def seen(*inserts: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    sink = FakeSink()
    for number, columns in enumerate(inserts):
        sink.insert(columns, str(number))
    return sink._steps.visible, sink.ledger()


def life(step: str, first: int = 0) -> list[Row]:
    """Return a step that is created, in progress, and failed."""
    return [
        step_row(first, step_id=step, status="in_progress", version=1),
        step_row(first + 1, step_id=step, status="in_progress", version=2),
        step_row(first + 2, step_id=step, status="failed", version=9),
    ]


def refusing_ends(row: Fields) -> bool:
    return bool(row["step_id"] == "bad" and row["status"] == "failed")


@given(st.lists(st.one_of(STEPS, st.just({})), max_size=12))
def test_what_is_left_out_cannot_be_seen(changes: list[dict[str, Any]]) -> None:
    rows = rows_of(changes)
    if not rows:
        return
    batch = batch_of(rows)
    (part,) = batch.parts.values()
    whole = columns_of(rows)
    whole[INDEX["ingested_at"]] = part.columns[INDEX["ingested_at"]]
    assert seen(part.columns) == seen(whole)
    assert first_current(part.columns) is not None or "stored" not in whole[INDEX["outcome"]]


def test_of_each_step_one_row_is_left() -> None:
    lives = [life(f"s{number}", number) for number in range(9)]
    rows = [row for state in zip(*lives, strict=True) for row in state]
    assert sorted(superseded(columns_of(rows))) == list(range(18))


def test_a_late_state_is_superseded_by_the_end_before_it() -> None:
    rows = [step_row(0, step_id="s", version=9), step_row(1, step_id="s", status="in_progress", version=1)]
    assert superseded(columns_of(rows)) == [1]


def test_of_equal_versions_the_last_is_current_as_in_the_table() -> None:
    rows = [step_row(0, step_index=index, step_id="s", version=1) for index in range(3)]
    assert sorted(superseded(columns_of(rows))) == [0, 1]


def test_rows_that_are_no_steps_supersede_nothing() -> None:
    assert superseded(columns_of([unstored_row(0), unstored_row(1), unstored_row(2, created_at=CREATED)])) == []


def test_steps_whose_creation_differs_are_left_to_the_table() -> None:
    rows = [step_row(offset, step_id="s", created_at=CREATED + offset * HOUR) for offset in range(2)]
    assert superseded(columns_of(rows)) == []


def test_a_superseded_row_has_no_texts_and_is_counted_as_it_was() -> None:
    rows = life("s")
    (part,) = batch_of(rows).parts.values()
    assert part.columns[IS_SUPERSEDED] == [True, True, False]
    for position in LEFT_OUT:
        assert not any(part.columns[position][:2]), INGEST_COLUMNS[position].name
        assert part.columns[position][2] == rows[2][position]
    whole = columns_of(rows)
    whole[INDEX["ingested_at"]] = part.columns[INDEX["ingested_at"]]
    assert tally(part.columns, CountedSteps(9), 1e9, 1) == tally(whole, CountedSteps(9), 1e9, 1)


def test_parts_do_not_supersede_each_other_since_one_can_be_given_up_alone() -> None:
    batch = batch_of(life("s"), life("s"))
    assert [part.columns[IS_SUPERSEDED].count(False) for part in batch.parts.values()] == [1, 1]


def test_a_batch_that_is_made_whole_has_all_its_values_again_and_another_token() -> None:
    rows = life("s")
    batch = batch_of(rows, [step_row(0, kafka_partition=1)])
    token = batch.token
    assert batch.restore()
    whole = columns_of([*rows, step_row(0, kafka_partition=1)])
    whole[INDEX["ingested_at"]] = [batch.ingested_at] * 4
    assert batch.columns(0, 4) == whole
    assert batch.token != token
    named = batch.token
    assert not batch.restore()
    assert batch.token == named


@pytest.mark.parametrize("max_rows", [None, 2])
def test_of_a_step_whose_end_is_rejected_the_state_before_is_current(max_rows: int | None) -> None:
    rig = Rig()
    rig.sink.refuse = refusing_ends
    rig.insertion.run(rig.batch(2))
    if max_rows:
        rig.sink.most_rows = max_rows
    batch = batch_of([*life("good"), *life("bad", 3), *life("other", 6)])
    rig.insertion.run(batch)
    current = {key[2]: (row["status"], row["step_details"] != "") for key, row in rig.sink.rows_current().items()}
    assert current["bad"] == ("in_progress", True)
    assert current["good"] == current["other"] == ("failed", True)
    assert [dead_letter.record.offset for dead_letter in batch.dead_letters()] == [5]
    account = {row["kafka_offset"]: row["outcome"] for row in rig.sink.ledger().values() if row["ingested_at"] > 0}
    assert account[5] == "dead_lettered"


def test_what_is_known_to_pass_is_a_row_that_passed_into_the_steps() -> None:
    """A superseded row passes whatever the table of steps rejects: it proves nothing."""
    rig = Rig()
    rig.insertion.run(batch_of(life("s")))
    known = rig.insertion._accepted.known_good_row()
    assert known is not None
    assert (known[INDEX["version"]], known[IS_SUPERSEDED]) == ([9], [False])
