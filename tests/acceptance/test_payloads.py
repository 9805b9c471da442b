"""Every real payload goes through real Kafka and the real daemon into real ClickHouse.

What is expected of them was written by hand: `expected_outcomes.toml` for all of them, `expected_rows.toml` for the
rows of many. The reference lies beside the project, not in it; where it is missing these tests are skipped, and
test_examples.py shows the same shapes.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient

from pipeline import __version__
from tests.support.delivery import Delivery, Sent, deliver
from tests.support.expectations import OUTCOMES, expected, observed
from tests.support.paths import REFERENCE, ROOT

HERE: Final = Path(__file__).parent
FOLDERS: Final = ("payloads", "derived", "raw")
STORED_AT: Final = 1_790_000_000_000
"""The records' timestamp, in milliseconds; later than any step in them."""

_WRITTEN: Final[dict[str, dict[str, list[str]]]] = tomllib.loads((HERE / "expected_outcomes.toml").read_text())
ROWS: Final[dict[str, dict[str, Any]]] = tomllib.loads((HERE / "expected_rows.toml").read_text())


def _repeated(words: list[str]) -> list[str]:
    """Return a reason for each step, '' for a stored one."""
    counted = [(word, int(count or 1)) for word, _, count in (entry.partition(" x ") for entry in words)]
    return [reason.replace("stored", "") for reason, count in counted for _ in range(count)]


REASONS: Final = {
    f"{folder}/{name}": _repeated(words) for folder, files in _WRITTEN.items() for name, words in files.items()
}

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


def files() -> list[str]:
    """Return all files of the reference, in the order in which they are produced."""
    if not REFERENCE.is_dir():
        return []
    found = (path for folder in FOLDERS for path in sorted((REFERENCE / folder).iterdir()))
    return [f"{path.parent.name}/{path.name}" for path in found if path.suffix in {".json", ".sse"}]


def sent_steps(name: str) -> list[Any]:
    """Return the objects in a file, as they were sent, without their envelopes."""
    text = (REFERENCE / name).read_text()
    if name.endswith(".sse"):
        frames = (line.removeprefix("data:") for line in text.split("\n") if line.startswith("data:"))
        return [None if frame.strip() == "[DONE]" else json.loads(frame) for frame in frames]
    value = json.loads(text)
    inner = value.get("data", value)
    return inner if isinstance(inner, list) else [inner]


@pytest.fixture(scope="module")
def delivery(kafka: Any, clickhouse: Any, kafka_admin: KafkaAdminClient) -> Iterator[Delivery]:
    """All of them, delivered, each in a batch of its own so that steps with the same ids do not hide each other."""
    names = files()
    if not names:
        pytest.skip(f"the reference is not beside the project ({REFERENCE.relative_to(ROOT.parent)} is missing)")
    records = [
        Sent(name, (REFERENCE / name).read_bytes(), STORED_AT + number, (("origin", b"reference"), ("origin", b"\xff")))
        for number, name in enumerate(names)
    ]
    with deliver(kafka, clickhouse, kafka_admin, records, alone=True) as delivered:
        yield delivered


def test_the_table_names_every_file(delivery: Delivery) -> None:
    assert sorted(delivery.offsets) == sorted(REASONS)
    assert len(ROWS) >= 25


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


@pytest.mark.parametrize("place", ROWS)
def test_the_row_is_as_written_by_hand(delivery: Delivery, place: str) -> None:
    name, _, index = place.partition("#")
    written = dict(ROWS[place])
    details = written.get("step_details", "")
    if details.startswith("as sent"):
        origin, _, origin_index = (details.removeprefix("as sent").removeprefix(" in ") or place).partition("#")
        written["step_details"] = sent_steps(origin)[int(origin_index)]["step_details"]
    assert REASONS[name][int(index)] == ""
    stored = [row for row in delivery.steps[name] if row["step_id"] == written["step_id"]]
    assert len(stored) == 1
    assert observed(stored[0]) == expected(written)


def test_details_in_the_form_of_the_wire_are_stored_as_they_were_sent(delivery: Delivery) -> None:
    compared = 0
    for name, rows in delivery.steps.items():
        sent = [step for step in sent_steps(name) if isinstance(step, dict) and "run_id" in step]
        for row in rows:
            forms = [step.get("step_details") or "" for step in sent if step["id"] == row["step_id"]]
            if forms:
                assert observed(row)["step_details"] in forms, (name, row["step_id"])
                compared += 1
    assert compared > 60


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


def test_the_dead_letters_are_the_refused_records_byte_for_byte(delivery: Delivery) -> None:
    refused = {name: reasons[0] for name, reasons in REASONS.items() if OUTCOMES[reasons[0]] == "dead_lettered"}
    assert sorted(dead_letter.key.decode() for dead_letter in delivery.dead_letters) == sorted(refused)
    for dead_letter in delivery.dead_letters:
        name = dead_letter.key.decode()
        assert dead_letter.value == (REFERENCE / name).read_bytes()
        assert dead_letter.headers[:2] == [("origin", b"reference"), ("origin", b"\xff")]
        ours = {key: value.decode() for key, value in dead_letter.headers[2:]}
        detail = ours.pop("runstep-detail")
        assert detail
        assert detail.isprintable()
        offset = delivery.offsets[name]
        assert ours == {
            "runstep-reason": refused[name],
            "runstep-stage": "normalize",
            "runstep-topic": delivery.topic,
            "runstep-partition": "0",
            "runstep-offset": str(offset),
            "runstep-timestamp": str(STORED_AT + offset),
            "runstep-attempt": "1",
            "runstep-version": __version__,
        }
        assert dead_letter.timestamp > STORED_AT + len(REASONS)
