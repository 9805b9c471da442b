"""A partition's states: assigned, read, halted, resumed as another assignment, withdrawn."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from pipeline.config import DeadLetterSettings, RetrySettings, Settings
from pipeline.contracts import Assigned, OffsetsLost, Unreadable, Withdrawn
from pipeline.daemon.assignments import Assignments
from pipeline.metrics import Metrics
from pipeline.records import InvalidRecord, Partition, Reason, Stage
from tests.support.fakes.kafka import FakeBroker, FakeRecord, FakeSource

PARTITION = Partition("run-steps", 0)


@pytest.fixture
def source() -> FakeSource:
    made = FakeSource(FakeBroker())
    made.positions[PARTITION] = 0
    return made


@pytest.fixture
def assignments(source: FakeSource) -> Assignments:
    settings = Settings(
        dead_letter=DeadLetterSettings(max_consecutive=2, max_ratio=1), retry=RetrySettings(halted_delay=10.0)
    )
    made = Assignments(source, Metrics(CollectorRegistry(), (1.0,)), settings)
    made.follow(Assigned(PARTITION))
    return made


def test_an_assignment_is_current_until_it_is_withdrawn_or_replaced(assignments: Assignments) -> None:
    first = assignments.current[PARTITION]
    assert assignments.is_current(first)
    assert assignments.readable(PARTITION) is first
    assignments.follow(Withdrawn(PARTITION, lost=False))
    assert not assignments.is_current(first)
    assert assignments.readable(PARTITION) is None
    assignments.follow(Assigned(PARTITION))
    assert not assignments.is_current(first)
    assert assignments.is_current(assignments.current[PARTITION])


def test_rejected_records_beyond_the_limit_halt_in_front_of_them(source: FakeSource, assignments: Assignments) -> None:
    assignment = assignments.current[PARTITION]
    records = [FakeRecord("run-steps", 0, offset, 1_000, b"k", b"poison") for offset in range(3)]
    letters = [InvalidRecord(record, Stage.DECODE, Reason.INVALID_JSON, "no JSON") for record in records]
    assert assignments.within_limits(assignment, records[:2], letters[:2])
    assert not assignments.within_limits(assignment, records[2:], letters[2:])
    assert source.halted == {
        PARTITION: "3 records in a row were rejected: invalid_json 3; the latest at offset 2, with: no JSON; "
        "look at them with `runstep dlq list --origin run-steps/0` and remove the cause, "
        "or raise dead_letter.max_consecutive (now 2; 0 is no limit)"
    }
    assert assignment.limits.in_a_row == 2, "what halts is read again, and counted once"
    assert assignments.readable(PARTITION) is None


def test_a_halted_partition_is_resumed_after_the_delay_as_another_assignment_with_the_same_limits(
    source: FakeSource, assignments: Assignments
) -> None:
    first = assignments.current[PARTITION]
    assert assignments.give_up(first, "a cause")
    assert assignments.resume_halted(100.0) == []
    assert assignments.resume_halted(109.9) == []
    assert assignments.resume_halted(110.0) == [PARTITION]
    assert source.halted == {}
    second = assignments.current[PARTITION]
    assert not assignments.is_current(first)
    assert (second.limits, second.sink_limits) == (first.limits, first.sink_limits)
    assert not assignments.give_up(first, "an earlier assignment halts nothing")
    assert source.halted == {}


def test_what_the_group_changes_is_logged_here_and_what_kafka_lost_is_logged_by_the_source(
    assignments: Assignments,
) -> None:
    with capture_logs() as logged:
        for change in (
            Assigned(PARTITION),
            OffsetsLost(PARTITION, 1, 2),
            Unreadable(PARTITION, 3, 4, "CRC mismatch"),
            Withdrawn(PARTITION, lost=False),
            Withdrawn(PARTITION, lost=True),
        ):
            assignments.follow(change)
    assert [line["event"] for line in logged] == [
        "partition_assigned",
        "partition_revoked",
        "partition_lost",
    ]
    assert all((line["topic"], line["partition"]) == PARTITION for line in logged)
