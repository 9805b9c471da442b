"""Our own example payloads through the pure stages: decode and normalize."""

import pytest

from pipeline.normalize.decode import decode
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_row import step_row
from pipeline.records import Unstored
from schemas.row import INDEX
from tests.support.expectations import OUTCOMES, Columns, Example, examples, observed
from tests.support.fakes.kafka import FakeRecord

EXAMPLES = list(examples())
TIMESTAMP = 1_764_000_000_000
LARGEST = 1_000_000


def verdicts(example: Example) -> list[Columns | str]:
    record = FakeRecord("run-steps", 0, 1, TIMESTAMP, None, example.value)
    decoded = decode(example.value, LARGEST)
    found: list[Columns | str] = []
    for index, event in enumerate(decoded if isinstance(decoded, list) else [decoded]):
        row = step_row(event, record, index, Rules()) if isinstance(event, RunStepEvent) else event
        if isinstance(row, Unstored):
            outcome = "ignored" if row.stage is None else "dead_lettered"
            assert outcome == OUTCOMES[row.reason]
            found.append(str(row.reason))
        else:
            found.append(observed({name: row[position] for name, position in INDEX.items()}))
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_becomes_what_was_written_by_hand(example: Example) -> None:
    assert verdicts(example) == example.verdicts
