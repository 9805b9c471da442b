"""Our own example payloads through the pure stages: decode and normalize."""

import pytest

from pipeline.decode import RunStepEvent, decode
from pipeline.normalize.row import Rules, step_row
from schemas.row import INDEX, Row
from tests.expectations import OUTCOMES, Columns, Example, examples, observed
from tests.fakes.kafka import FakeRecord

EXAMPLES = list(examples())
TIMESTAMP = 1_764_000_000_000
LARGEST = 1_000_000


def verdicts(example: Example) -> list[Columns | str]:
    record = FakeRecord("run-steps", 0, 1, TIMESTAMP, None, example.value)
    decoded = decode(example.value, LARGEST)
    rows = [
        step_row(event, record, index, Rules()) if isinstance(event, RunStepEvent) else event
        for index, event in enumerate(decoded if isinstance(decoded, list) else [decoded])
    ]
    return [observed(as_mapping(row)) if isinstance(row, tuple) and len(row) == len(INDEX) else reason(row) for row in rows]


def as_mapping(row: Row) -> Columns:
    return {name: row[position] for name, position in INDEX.items()}


def reason(unstored: object) -> str:
    outcome = "ignored" if unstored.stage is None else "dead_lettered"
    assert outcome == OUTCOMES[unstored.reason]
    return str(unstored.reason)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_becomes_what_was_written_by_hand(example: Example) -> None:
    assert verdicts(example) == example.verdicts
