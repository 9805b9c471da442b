"""Every recorded payload goes through real Kafka and the real daemon into real ClickHouse.

The recorded payloads stand beside the project in its workshop, not in it. Every clone has an example of its own for
each shape of theirs, which test_examples.py shows; these tests add the real texts, numbers and sizes. What is expected
of a recorded step is what the example of its shape expects, under the names that the recorded payload uses.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient

from pipeline import __version__
from tests.support.delivery import Delivery, Sent, deliver
from tests.support.expectations import NUMBERS, OUTCOMES, Columns, expected, observed
from tests.support.paths import REFERENCE
from tests.support.recorded import reasons_of, recorded_files, rows_of

if not REFERENCE.is_dir():
    pytest.skip(
        "only the workshop has the recorded payloads; test_examples.py has one of each shape", allow_module_level=True
    )

STORED_AT: Final = 1_790_000_000_000
"""The records' timestamp, in milliseconds; later than any step in them."""

BY_HAND: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "recorded_numbers.toml").read_text(encoding="utf-8")
)
"""Times and token counts of some steps, by file and index."""

FILES: Final = recorded_files()
REASONS: Final = {name: reasons_of(name) for name in FILES}

CURRENT: Final = {
    # All of these end at the same second: the record that came last.
    ("thread_abc123", "run_abc123", "step_abc123", "2023-11-04"): "derived/pyopenai_dump__zero.json",
    # The same ids with times of their own; created_at never changes for a real step.
    ("thread_abc123", "run_abc123", "step_abc123", "2024-04-30"): "derived/pyopenai_dump__ms.json",
    # Its creation comes after its end.
    (
        "thread_28f0b00b-d825-48f5-bb27-f3b171a64d33",
        "run_0f314675-06a4-4379-929c-d29cd351a446",
        "step_f923bd08-1e22-40d9-bf54-373b21fde378",
        "2024-04-30",
    ): "payloads/dashscope_doc_completed_but_in_progress.json",
    # Ended two seconds later than what came after it.
    ("thread_1", "run_1", "step_1", "2024-03-08"): "payloads/dashscope_sdk_list_run_steps.json",
    # Created in one stream, completed in the next, and all of it seen before.
    (
        "thread_6oUGUBxLwhyApwhYBhWjHI5f",
        "run_oyfV44CrJXYJkvb2qsd80LvJ",
        "step_9c9pSsTIsCYc1KeHEI6Ba34s",
        "2025-10-30",
    ): "raw/openai_streamingtoolcall_leg2_2025.sse",
    # Never ended: the last sight of it.
    (
        "thread_DWFcoAFxKqpNR8MKplqFREzl",
        "run_uNQ87yXUBgR3bf8AKnzO0p1b",
        "step_lmDenBFdg4FoEBmRRWE1s8DZ",
        "2024-05-04",
    ): "raw/openai_stream_error_trimmed_2024.sse",
}
"""Step key and day of creation to the file whose state is the current one."""


@pytest.fixture(scope="module")
def delivery(kafka: Any, clickhouse: Any, kafka_admin: KafkaAdminClient) -> Iterator[Delivery]:
    """All of them, delivered, each in a batch of its own so that steps with the same ids do not hide each other."""
    records = [
        Sent(name, (REFERENCE / name).read_bytes(), STORED_AT + number, (("origin", b"reference"), ("origin", b"\xff")))
        for number, name in enumerate(FILES)
    ]
    with deliver(kafka, clickhouse, kafka_admin, records, alone=True) as delivered:
        yield delivered


def test_the_ledger_accounts_for_every_offset_and_step(delivery: Delivery) -> None:
    wanted = {
        (delivery.offsets[name], index): (OUTCOMES[reason], reason)
        for name, reasons in REASONS.items()
        for index, reason in enumerate(reasons)
    }
    found = [(row["kafka_offset"], row["step_index"]) for row in delivery.ledger]
    assert len(found) == len(set(found)), "a step stands in the ledger twice"
    assert {
        (row["kafka_offset"], row["step_index"]): (row["outcome"], row["reason"]) for row in delivery.ledger
    } == wanted


def test_every_record_is_counted_once(delivery: Delivery) -> None:
    wanted: Counter[tuple[str, str]] = Counter()
    for reasons in REASONS.values():
        reason = "" if "" in reasons else reasons[0]
        wanted[OUTCOMES[reason], reason] += 1
    counted = {
        (dict(labels)["outcome"], dict(labels)["reason"]): value
        for (name, labels), value in delivery.metrics.items()
        if name == "runstep_records_total" and value
    }
    assert counted == wanted


@pytest.mark.parametrize("name", FILES)
def test_the_rows_are_those_of_the_example(delivery: Delivery, name: str) -> None:
    wanted = {row["step_id"]: row for row in rows_of(name) if row}
    stored = {row["step_id"]: observed(row) for row in delivery.steps.get(name, [])}
    assert len(stored) == len(delivery.steps.get(name, []))
    assert {step_id: without_numbers(row) for step_id, row in stored.items()} == {
        step_id: without_numbers(row) for step_id, row in wanted.items()
    }


def without_numbers(row: Columns) -> Columns:
    """Return a row with a mark instead of each time and token count."""
    return row | {column: row[column] is not None for column in NUMBERS}


@pytest.mark.parametrize("place", BY_HAND)
def test_times_and_token_counts_are_as_written_by_hand(delivery: Delivery, place: str) -> None:
    name, _, index = place.partition("#")
    row = rows_of(name)[int(index)]
    assert row, "the step is not stored"
    stored = [observed(one) for one in delivery.steps[name] if one["step_id"] == row["step_id"]]
    assert len(stored) == 1
    written = expected(BY_HAND[place])
    assert {column: stored[0][column] for column in NUMBERS} == {column: written[column] for column in NUMBERS}


def test_the_same_error_has_the_same_fingerprint_whatever_brought_it(delivery: Delivery) -> None:
    rows = [row for stored in delivery.steps.values() for row in stored if row["error_message"]]
    by_message: dict[str, set[str]] = {}
    for row in rows:
        by_message.setdefault(row["error_message"], set()).add(row["error_fingerprint"])
    assert all(len(found) == 1 for found in by_message.values())
    assert len(set().union(*by_message.values())) == len(by_message) == 3


@pytest.mark.parametrize(("key", "name"), CURRENT.items(), ids=CURRENT.values())
def test_the_current_row_is_the_latest_state(delivery: Delivery, key: tuple[str, ...], name: str) -> None:
    thread_id, run_id, step_id, day = key
    rows = [
        row
        for row in delivery.current
        if (row["thread_id"], row["run_id"], row["step_id"], row["created_at"][:10])
        == (thread_id, run_id, step_id, day)
    ]
    assert [row["kafka_offset"] for row in rows] == [delivery.offsets[name]]


def test_the_current_view_shows_every_stored_step_once(delivery: Delivery) -> None:
    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return row["thread_id"], row["run_id"], row["step_id"], row["created_at"][:13]

    shown = Counter(map(key, delivery.current))
    assert set(shown) == {key(row) for rows in delivery.steps.values() for row in rows}
    assert set(shown.values()) == {1}
    in_ledger = {
        (row["thread_id"], row["run_id"], row["step_id"]) for row in delivery.ledger if row["outcome"] == "stored"
    }
    assert {one[:3] for one in shown} == in_ledger


def test_the_dead_letters_are_the_rejected_records_byte_for_byte(delivery: Delivery) -> None:
    rejected = {name: reasons[0] for name, reasons in REASONS.items() if OUTCOMES[reasons[0]] == "dead_lettered"}
    assert sorted(dead_letter.key.decode() for dead_letter in delivery.dead_letters) == sorted(rejected)
    for dead_letter in delivery.dead_letters:
        name = dead_letter.key.decode()
        assert dead_letter.value == (REFERENCE / name).read_bytes()
        assert dead_letter.headers[:2] == [("origin", b"reference"), ("origin", b"\xff")]
        added = {key: value.decode() for key, value in dead_letter.headers[2:]}
        detail = added.pop("runstep-detail")
        assert detail
        assert detail.isprintable()
        offset = delivery.offsets[name]
        assert added == {
            "runstep-reason": rejected[name],
            "runstep-stage": "normalize",
            "runstep-topic": delivery.topic,
            "runstep-partition": "0",
            "runstep-offset": str(offset),
            "runstep-timestamp": str(STORED_AT + offset),
            "runstep-attempt": "1",
            "runstep-version": __version__,
        }
        assert dead_letter.timestamp > STORED_AT + len(REASONS)
