"""The door: at least one row for each record, the record of each row, dead letters once, weight."""

import tracemalloc
from collections.abc import Sequence
from typing import Any, Final

import pytest

from pipeline.normalize import memory
from pipeline.normalize.memory import record_bytes
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
    assert normalized.records == len(records)
    assert normalized.size > sum(len(one.value or b"") + len(one.key or b"") for one in records)


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
    assert (normalized.origins, normalized.records) == (records, 2)


def test_a_slice_ends_with_the_record_that_fills_it_and_holds_one_at_least() -> None:
    records: list[Record] = [record(offset, wire(completed())) for offset in range(4)]
    size = record_bytes(records[0])
    assert [normalize(records, Rules(), most).records for most in (1, size, size + 1, 10 * size)] == [1, 1, 2, 4]


def test_the_events_of_a_step_share_its_ids_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[str, str] = {}
    monkeypatch.setattr(memory, "_shared", shared)
    monkeypatch.setattr(memory, "_MAX_SHARED", 8)
    first, second = (normalize([record(offset, wire(completed()))], Rules()) for offset in range(2))
    for name in ("thread_id", "run_id", "step_id", "assistant_id"):
        assert first.columns[INDEX[name]][0] is second.columns[INDEX[name]][0]
    for number in range(40):
        normalize([record(number, wire(completed(number)))], Rules())
        assert len(shared) <= 8 + 4


SHAPES: Final = {
    "ordinary": wire(completed()),
    "long ids": wire(step(id="i" * 512, run_id="r" * 512, thread_id="t" * 512, assistant_id="a" * 512)),
    "text": wire(step(step_details={"text": "x" * 20_000})),
    "wide text": wire(step(step_details={"text": "\N{GRINNING FACE}" + "x" * 20_000})),
    "wide ids": wire(step(id="\N{GRINNING FACE}" * 512, run_id="\N{GRINNING FACE}" + "r" * 500)),
    "numbers that grow": wire(step(step_details=["\N{GRINNING FACE}", *[0] * 5_000])).replace(b" 0", b"1e15"),
    "metadata": wire(step(metadata={f"key {number}": f"value {number}" for number in range(1_000)})),
    "tool calls": wire(step(step_details={"tool_calls": [{"id": f"call {number}"} for number in range(1_000)]})),
    "unknown fields": wire(step(unknown="\N{GRINNING FACE}" + "x" * 20_000)),
    "a page": wire({"data": [completed(number) for number in range(500)]}),
    "not JSON": b"x" * 5_000,
    "nothing": b"",
}


@pytest.mark.parametrize(
    ("value", "key", "headers"),
    [
        *(pytest.param(value, b"key", (), id=name) for name, value in SHAPES.items()),
        pytest.param(b"", b"k" * 900_000, (), id="long key"),
        pytest.param(b"", None, [(f"header {number}", b"") for number in range(2_000)], id="headers"),
    ],
)
def test_no_record_occupies_much_more_than_it_weighs(
    value: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> None:
    normalize([record(1, value)], Rules())
    tracemalloc.start()
    try:
        made = normalize([anew(FakeRecord("t", 0, number, 1, key, value, headers)) for number in range(64)], Rules())
        occupied, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.2 < occupied / made.size < 1.5


def anew(one: FakeRecord) -> FakeRecord:
    """Return a record that shares nothing with another one, as a poll does."""
    headers = [("".join(name), bytes(bytearray(content))) for name, content in one.headers]
    return one._replace(
        key=one.key and bytes(bytearray(one.key)), value=bytes(bytearray(one.value or b"")), headers=headers
    )


LOGIN: Final = "password=" + "hunter2 "
FEW: Final = Rules(max_searched=100_000)


def test_text_beyond_a_records_share_is_left_out_and_never_stored_unsearched() -> None:
    long = LOGIN * 5_000
    steps = [
        completed(
            number,
            status="failed",
            last_error={"code": "server_error", "message": LOGIN * 100},
            step_details={"type": "tool_calls", "tool_calls": [{"id": "call_1", "function": {"arguments": long}}]},
            metadata={"note": LOGIN},
            unknown=LOGIN,
        )
        for number in range(3)
    ]
    normalized = normalize([record(1, wire({"data": steps}))], FEW)
    first, *others = (
        dict(zip([name for name, _ in INGEST_COLUMNS], row, strict=True))
        for row in zip(*normalized.columns, strict=True)
    )
    assert "text_not_searched" not in first["anomalies"]
    assert (first["step_details"].count("[redacted:password]"), first["metadata"]["note"][:9]) == (5_000, "password=")
    for row in others:
        assert row["anomalies"].count("text_not_searched") == 1
        assert row["step_details"] == '{"omitted":"object","length":2}'
        assert (row["error_code"], row["error_category"], row["error_message"]) == ("server_error", "server", "")
        assert (row["metadata"], row["extra_fields"]) == ({"note": ""}, "")
        assert (row["outcome"], row["tool_call_ids"], row["status"]) == ("stored", ["call_1"], "failed")
    assert "hunter2" not in repr(normalized.columns)


def test_a_record_that_is_read_again_becomes_the_same_rows_whatever_was_read_before() -> None:
    records: list[Record] = [record(offset, wire(step(step_details={"text": LOGIN * 5_000}))) for offset in (1, 2)]
    together = normalize(records, FEW)
    assert column(together, "anomalies") == [[], []]
    assert column(normalize(records[1:], FEW), "step_details") == column(together, "step_details")[1:]


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


def test_a_header_without_a_value_costs_its_name() -> None:
    """As the client's own decoder gives it."""
    null: tuple[tuple[str, Any], ...] = (("h", None),)
    made = normalize([FakeRecord("t", 0, 1, 1_764_000_000_000, None, wire(completed()), null)], Rules())
    assert column(made, "outcome") == ["stored"]


def test_no_text_stands_for_details_that_are_not_kept_whatever_was_searched() -> None:
    value = wire({"data": [completed(number, note="x" * 300) for number in range(300)]})
    rows = normalize([record(1, value)], Rules(content="none", max_searched=16_384))
    assert set(column(rows, "step_details")) == {""}
