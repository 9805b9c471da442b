"""The door: at least one row for each record, the record of each row, dead letters once, weight."""

import pytest

from pipeline.normalize.normalize import Normalized, Rules, normalize, unreadable
from pipeline.records import Reason, Record, Stage, UnreadRecord, Unstored
from schemas.row import INDEX, INGEST_COLUMNS
from tests.support.events import completed, step, wire
from tests.support.fakes.kafka import FakeRecord


def record(offset: int, value: bytes | None) -> FakeRecord:
    return FakeRecord("run-steps", 0, offset, 1_764_000_000_000, b"key", value)


def column(normalized: Normalized, name: str) -> list[object]:
    return list(normalized.columns[INDEX[name]])


def test_every_record_has_its_rows_in_order_and_every_row_its_record() -> None:
    page = wire({"object": "list", "data": [completed(1), step(2, id=""), step(3, id=""), completed(4)]})
    records: list[Record] = [record(5, wire(completed())), record(7, None), record(8, page), record(9, b"{broken")]
    normalized = normalize(records, Rules())
    assert len(normalized.columns) == len(INGEST_COLUMNS)
    assert column(normalized, "kafka_offset") == [5, 7, 8, 8, 8, 8, 9]
    assert column(normalized, "step_index") == [0, 0, 0, 1, 2, 3, 0]
    assert column(normalized, "outcome") == [
        *("stored", "ignored"),
        *("stored", "dead_lettered", "dead_lettered", "stored"),
        "dead_lettered",
    ]
    assert [origin.offset for origin in normalized.origins] == column(normalized, "kafka_offset")
    assert normalized.size == sum(len(one.value or b"") for one in records)


def test_a_rejected_record_is_one_dead_letter_however_many_of_its_steps_are() -> None:
    page = wire({"object": "list", "data": [step(1, id=""), step(2, id="")]})
    normalized = normalize([record(1, page), record(2, b"{broken"), record(3, None)], Rules())
    assert [(dead_letter.record.offset, dead_letter.reason) for dead_letter in normalized.dead_letters] == [
        (1, "missing_step_id"),
        (2, "invalid_json"),
    ]


@pytest.mark.parametrize(("limit", "outcome"), [(0, "stored"), (-1, "dead_lettered")])
def test_a_record_larger_than_the_rules_allow_is_not_decoded(limit: int, outcome: str) -> None:
    value = wire(completed())
    rules = Rules(max_event_bytes=len(value) + limit)
    assert column(normalize([record(1, value)], rules), "outcome") == [outcome]


def test_offsets_that_no_client_can_read_are_dead_lettered_by_their_place() -> None:
    records = [UnreadRecord("run-steps", 0, offset) for offset in (3, 4)]
    normalized = unreadable(records, "CRC mismatch")
    assert column(normalized, "kafka_offset") == [3, 4]
    assert column(normalized, "reason") == ["unreadable"] * 2
    assert [(letter.record, letter.stage, letter.detail) for letter in normalized.dead_letters] == [
        (one, "fetch", "CRC mismatch") for one in records
    ]
    assert (normalized.origins, normalized.size) == (records, 0)


def test_a_record_that_was_not_read_is_dead_lettered_for_what_its_reader_says() -> None:
    verdict = Unstored(Reason.TOO_LARGE, Stage.FETCH, "a record of 9 bytes, at most 8 are read")
    unread = UnreadRecord("run-steps", 0, 6, 1_764_000_000_000, verdict=verdict)
    records: list[Record] = [record(5, wire(completed())), unread, record(7, None)]
    normalized = normalize(records, Rules())
    assert column(normalized, "kafka_offset") == [5, 6, 7]
    assert column(normalized, "outcome") == ["stored", "dead_lettered", "ignored"]
    assert column(normalized, "reason") == ["", "too_large", "tombstone"]
    (dead_letter,) = normalized.dead_letters
    assert (dead_letter.record, dead_letter.stage, dead_letter.detail) == (unread, "fetch", verdict.detail)
