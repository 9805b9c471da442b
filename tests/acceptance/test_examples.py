"""The project's own example payloads through real Kafka and the real daemon into real ClickHouse, in common batches."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient

from tests.support.delivery import Delivery, Sent, deliver
from tests.support.expectations import OUTCOMES, Columns, Example, examples, observed

EXAMPLES: Final = list(examples())


def key(row: Columns) -> tuple[str, str]:
    return row["run_id"], row["step_id"]


LAST_STATES: Final = [
    (example, row)
    for example in EXAMPLES
    for row in {key(row): row for row in example.verdicts if isinstance(row, dict)}.values()
]
"""Each step that is stored, as the last of its states in a record says."""


@pytest.fixture(scope="module")
def delivery(kafka: Any, clickhouse: Any, kafka_admin: KafkaAdminClient) -> Iterator[Delivery]:
    with deliver(kafka, clickhouse, kafka_admin, [Sent(one.name, one.value) for one in EXAMPLES]) as delivered:
        yield delivered


def test_the_ledger_accounts_for_every_step(delivery: Delivery) -> None:
    wanted = {
        (delivery.offsets[example.name], index): (OUTCOMES[reason], reason)
        for example in EXAMPLES
        for index, reason in enumerate(example.reasons)
    }
    assert len(delivery.ledger) == len(wanted)
    assert {
        (row["kafka_offset"], row["step_index"]): (row["outcome"], row["reason"]) for row in delivery.ledger
    } == wanted


@pytest.mark.parametrize(
    ("example", "row"), LAST_STATES, ids=[f"{one.name}-{row['step_id']}" for one, row in LAST_STATES]
)
def test_the_current_row_is_as_written_by_hand(delivery: Delivery, example: Example, row: Columns) -> None:
    stored = [one for one in delivery.current if key(one) == key(row)]
    assert [one["kafka_offset"] for one in stored] == [delivery.offsets[example.name]]
    assert observed(stored[0]) == row


def test_nothing_else_is_stored(delivery: Delivery) -> None:
    assert len(delivery.current) == len(LAST_STATES)


def test_rejected_records_are_dead_letters_byte_for_byte(delivery: Delivery) -> None:
    rejected = {one.name: one for one in EXAMPLES if "dead_lettered" in map(OUTCOMES.get, one.reasons)}
    dead_letters = {dead_letter.key.decode(): dead_letter for dead_letter in delivery.dead_letters}
    assert len(delivery.dead_letters) == len(rejected)
    assert {name: dead_letter.value for name, dead_letter in dead_letters.items()} == {
        name: one.value for name, one in rejected.items()
    }
    for name, dead_letter in dead_letters.items():
        headers = dict(dead_letter.headers)
        assert headers["runstep-reason"].decode() in rejected[name].reasons
        assert headers["runstep-offset"].decode() == str(delivery.offsets[name])
