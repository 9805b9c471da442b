"""Our own example payloads through real Kafka and the real daemon into real ClickHouse, in common batches."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient

from tests.support.delivery import Delivery, Sent, deliver
from tests.support.expectations import OUTCOMES, Example, examples, observed

EXAMPLES: Final = list(examples())
STORED: Final = [
    (example, verdict) for example in EXAMPLES for verdict in example.verdicts if isinstance(verdict, dict)
]


def reasons(example: Example) -> list[str]:
    return ["" if isinstance(verdict, dict) else verdict for verdict in example.verdicts]


@pytest.fixture(scope="module")
def delivery(kafka: Any, clickhouse: Any, kafka_admin: KafkaAdminClient) -> Iterator[Delivery]:
    with deliver(kafka, clickhouse, kafka_admin, [Sent(one.name, one.value) for one in EXAMPLES]) as delivered:
        yield delivered


def test_the_ledger_accounts_for_every_step(delivery: Delivery) -> None:
    wanted = {
        (delivery.offsets[example.name], index): (OUTCOMES[reason], reason)
        for example in EXAMPLES
        for index, reason in enumerate(reasons(example))
    }
    assert len(delivery.ledger) == len(wanted)
    assert {
        (row["kafka_offset"], row["step_index"]): (row["outcome"], row["reason"]) for row in delivery.ledger
    } == wanted


@pytest.mark.parametrize(("example", "row"), STORED, ids=[f"{one.name}-{row['step_id']}" for one, row in STORED])
def test_the_current_row_is_as_written_by_hand(delivery: Delivery, example: Example, row: dict[str, Any]) -> None:
    stored = [one for one in delivery.current if one["step_id"] == row["step_id"]]
    assert [one["kafka_offset"] for one in stored] == [delivery.offsets[example.name]]
    assert observed(stored[0]) == row


def test_nothing_else_is_stored(delivery: Delivery) -> None:
    assert len(delivery.current) == len(STORED)


def test_refused_records_are_dead_letters_byte_for_byte(delivery: Delivery) -> None:
    refused = {one.name: one for one in EXAMPLES if "dead_lettered" in [OUTCOMES[reason] for reason in reasons(one)]}
    dead_letters = {dead_letter.key.decode(): dead_letter for dead_letter in delivery.dead_letters}
    assert len(delivery.dead_letters) == len(refused)
    assert {name: dead_letter.value for name, dead_letter in dead_letters.items()} == {
        name: one.value for name, one in refused.items()
    }
    for name, dead_letter in dead_letters.items():
        headers = dict(dead_letter.headers)
        assert headers["runstep-reason"].decode() in reasons(refused[name])
        assert headers["runstep-offset"].decode() == str(delivery.offsets[name])
