"""`runstep dlq replay` without a Kafka: what is done about each dead letter, and only once."""

import hashlib
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.records import Reason, Stage, UnreadRecord
from pipeline.tools.dlq import Identity, OnError, Origins, ReplayOutcome, ReplayPolicy, Selection, dead_letter_of
from pipeline.tools.dlq.dead_letter_records import marker_of
from pipeline.tools.dlq.replay import Replay, SliceLimits
from tests.support.dead_letter_topic import DEAD_LETTERS, NOW, ORIGIN, Log
from tests.support.fakes.kafka import FakeRecord

GONE = "there-is-no-such"


@pytest.fixture
def log() -> Log:
    return Log({ORIGIN: 2, DEAD_LETTERS: 2})


def places(dead_letters: list[Any]) -> list[int]:
    return [dead_letter.identity.offset for dead_letter in dead_letters]


def dead_letters_in(log: Log) -> list[FakeRecord]:
    return [record for part in log.topics[DEAD_LETTERS] for record in part if dead_letter_of(record) is not None]


# what is done


def test_a_dead_letter_comes_back_to_its_partition_with_a_marker_in_the_same_transaction(log: Log) -> None:
    log.dead_letter(7, partition=1, headers=(("trace", b"1"),))
    result = log.replay(ReplayPolicy())
    ((back, marker),) = log.written
    assert (back.topic, back.partition, back.key, back.value) == (ORIGIN, 1, b"key", b"value 7")
    assert dict(back.headers)["trace"] == b"1"
    assert (marker.topic, marker.partition, marker.value) == (DEAD_LETTERS, 0, b"")
    assert marker_of(marker.headers) == (Identity(ORIGIN, 1, 7, NOW - 1_000 + 7, 1), ReplayOutcome.REPLAYED)
    assert (result.done[ReplayOutcome.REPLAYED], result.failed, result.stopped) == (1, False, False)


def test_a_second_run_brings_nothing_and_says_why(log: Log) -> None:
    for offset in range(3):
        log.dead_letter(offset)
    log.replay(ReplayPolicy(), limit=2)
    assert len(log.returned()) == 2
    result = log.replay(ReplayPolicy())
    assert (result.done[ReplayOutcome.REPLAYED], result.closed) == (1, 2)
    assert sorted(record.value or b"" for record in log.returned()) == [b"value 0", b"value 1", b"value 2"]
    assert log.replay(ReplayPolicy()).closed == 3


def test_a_dead_letter_that_is_sent_again_after_its_replay_stays_closed(log: Log) -> None:
    log.dead_letter(5)
    log.replay(ReplayPolicy())
    log.dead_letter(5)
    assert log.replay(ReplayPolicy()).closed == 1
    assert len(log.returned()) == 1


def test_each_partition_with_a_copy_gets_a_marker(log: Log) -> None:
    log.dead_letter(5, lies_in=0)
    log.dead_letter(5, lies_in=1)
    log.replay(ReplayPolicy())
    assert [record.partition for record in log.written[0] if record.topic == DEAD_LETTERS] == [0, 1]


def test_another_topic_is_written_by_key(log: Log) -> None:
    log.topics["elsewhere"] = [[]]
    log.dead_letter(7, partition=1)
    log.replay(ReplayPolicy(to_topic="elsewhere"))
    assert (log.written[0][0].topic, log.written[0][0].partition) == ("elsewhere", None)


OBSTACLES: dict[str, tuple[dict[str, Any], str]] = {
    "no topic": ({"topic": GONE}, f"topic {GONE} does not exist"),
    "no partition": ({"partition": 2}, f"topic {ORIGIN} has no partition 2"),
    "of itself": ({"topic": DEAD_LETTERS}, f"{DEAD_LETTERS} is the dead-letter topic"),
    "unread": (
        {"stage": Stage.FETCH, "reason": Reason.UNREADABLE, "value": None},
        "the daemon could not read the record",
    ),
    "nothing": ({"key": None, "value": None}, "the record has neither key nor value"),
}


@pytest.mark.parametrize(("fields", "cause"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_cannot_come_back_stops_it_there(log: Log, fields: dict[str, Any], cause: str) -> None:
    log.dead_letter(0)
    log.dead_letter(1, **fields)
    log.dead_letter(2)
    result = log.replay(ReplayPolicy())
    ((dead_letter, why),) = result.failures
    assert (dead_letter.identity.offset, result.stopped, result.failed) == (1, True, True)
    assert why.startswith(cause)
    assert [record.value for record in log.returned()] == [b"value 0"]


@pytest.mark.parametrize("fields", [fields for fields, _ in OBSTACLES.values()], ids=OBSTACLES)
def test_what_is_dropped_is_closed_and_the_others_come_back(log: Log, fields: dict[str, Any]) -> None:
    log.dead_letter(0)
    log.dead_letter(1, **fields)
    log.dead_letter(2)
    result = log.replay(ReplayPolicy(on_error=OnError.DROP))
    assert (result.done[ReplayOutcome.DROPPED], result.stopped, result.failed) == (1, False, False)
    assert [record.value for record in log.returned()] == [b"value 0", b"value 2"]
    assert log.replay(ReplayPolicy(on_error=OnError.DROP)).closed == 3
    assert len(dead_letters_in(log)) == 3


def test_what_is_requeued_goes_to_the_end_until_its_attempts_are_used_up(log: Log) -> None:
    terms = ReplayPolicy(max_attempts=3, on_error=OnError.REQUEUE)
    log.dead_letter(1, topic=GONE, headers=(("trace", b"1"),))
    log.dead_letter(2)
    first, second, third = (log.replay(terms) for _ in range(3))
    assert (first.done[ReplayOutcome.REPLAYED], first.done[ReplayOutcome.REQUEUED], first.failed) == (1, 1, True)
    assert (second.done[ReplayOutcome.REQUEUED], second.closed) == (1, 2)
    assert (third.done[ReplayOutcome.REQUEUED], third.exhausted, third.failed) == (0, 1, False)
    dead_letters = [record for record in dead_letters_in(log) if dict(record.headers)["runstep-topic"] == GONE.encode()]
    assert [dict(record.headers)["runstep-attempt"] for record in dead_letters] == [b"1", b"2", b"3"]
    assert {(record.key, record.value, dict(record.headers)["trace"]) for record in dead_letters} == {
        (b"key", b"value 1", b"1")
    }


def test_a_requeued_dead_letter_comes_back_once_its_origin_is_there_again(log: Log) -> None:
    log.dead_letter(1, topic=GONE)
    log.replay(ReplayPolicy(on_error=OnError.REQUEUE))
    log.topics[GONE] = [[]]
    assert log.replay(ReplayPolicy()).done[ReplayOutcome.REPLAYED] == 1
    (back,) = log.topics[GONE][0]
    assert (back.value, dict(back.headers)["runstep-attempt"]) == (b"value 1", b"2")


def test_an_unread_record_without_a_key_can_be_requeued(log: Log) -> None:
    log.dead_letter(1, stage=Stage.FETCH, reason=Reason.UNREADABLE, key=None, value=None)
    log.replay(ReplayPolicy(on_error=OnError.REQUEUE))
    assert [(record.key, record.value) for record in dead_letters_in(log)] == [(None, None), (None, b"")]


def test_a_preview_says_the_same_and_writes_nothing(log: Log) -> None:
    log.dead_letter(0)
    log.dead_letter(1, topic=GONE)
    log.dead_letter(2)
    for policy, verdicts in (
        (OnError.STOP, [ReplayOutcome.REPLAYED, None]),
        (OnError.DROP, [ReplayOutcome.REPLAYED, ReplayOutcome.DROPPED, ReplayOutcome.REPLAYED]),
        (OnError.REQUEUE, [ReplayOutcome.REPLAYED, ReplayOutcome.REQUEUED, ReplayOutcome.REPLAYED]),
    ):
        previewing = Replay(log.dead_letter_topic(), ReplayPolicy(on_error=policy))
        decisions = previewing.preview(previewing.plan(Selection(), None))
        assert [decision.outcome for decision in decisions] == verdicts
        assert previewing.result.stopped is (policy is OnError.STOP)
    assert log.written == []


# cut dead letters


def cut(log: Log, **fields: Any) -> None:
    whole = b"head and tail"
    log.append(ORIGIN, 0, b"key", whole, [("trace", b"1"), ("runstep-attempt", b"1")])
    log.cut_dead_letter(
        0, 4, len(whole), hashlib.sha256(whole).hexdigest(), **{"timestamp": NOW, "value": whole, "key": None, **fields}
    )


def test_the_whole_of_a_cut_dead_letter_is_fetched_from_its_origin(log: Log) -> None:
    cut(log)
    (dead_letter,) = log.dead_letter_topic().chosen(Selection())
    assert dead_letter.size == len(b"head and tail")
    log.replay(ReplayPolicy())
    (back,) = log.returned()
    assert (back.key, back.value, dict(back.headers)["trace"]) == (b"key", b"head and tail", b"1")


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"timestamp": NOW - 1}, "its origin holds another record now"),
        ({"topic": GONE}, "its origin is gone"),
        ({"partition": 9}, "its origin is gone"),
    ],
)
def test_a_head_alone_never_comes_back(log: Log, fields: dict[str, Any], cause: str) -> None:
    cut(log, **fields)
    ((_, why),) = log.replay(ReplayPolicy()).failures
    assert why == f"the dead letter holds only the first part of 13 bytes, and {cause}"
    assert log.returned() == []


def test_a_record_that_was_too_large_to_be_read_comes_back_from_its_origin(log: Log) -> None:
    log.append(ORIGIN, 0, b"key", b"a large value", [("trace", b"1")])
    log.dead_letter(0, stage=Stage.FETCH, reason=Reason.TOO_LARGE, key=None, value=None, timestamp=NOW)
    log.replay(ReplayPolicy())
    (back,) = log.returned()
    assert (back.key, back.value, dict(back.headers)["trace"]) == (b"key", b"a large value", b"1")


def test_a_record_that_is_too_large_for_the_replay_too_does_not_come_back_empty(log: Log) -> None:
    log.topics[ORIGIN][0].append(UnreadRecord(ORIGIN, 0, 0, NOW))  # type: ignore[arg-type]
    log.dead_letter(0, stage=Stage.FETCH, reason=Reason.TOO_LARGE, key=None, value=None, timestamp=NOW)
    ((_, why),) = log.replay(ReplayPolicy()).failures
    assert "too large to be read here, too" in why
    assert log.returned() == []


def test_another_value_at_the_origin_is_not_taken_for_the_cut_one(log: Log) -> None:
    cut(log)
    log.topics[ORIGIN][0][0] = log.topics[ORIGIN][0][0]._replace(value=b"head and tale")
    ((_, why),) = log.replay(ReplayPolicy()).failures
    assert "another record" in why


def test_an_origin_that_kafka_does_not_hold_any_more_is_named(log: Log) -> None:
    cut(log)
    log.topics[ORIGIN][0].clear()
    ((_, why),) = log.replay(ReplayPolicy()).failures
    assert "no longer holds the original" in why


# slices, and what the broker refuses


def test_slices_are_bounded_by_number_and_by_bytes(log: Log) -> None:
    for offset in range(7):
        log.dead_letter(offset, value=b"x" * (10 if offset < 5 else 60))
    log.replay(ReplayPolicy(), limits=SliceLimits(3, 70))
    # Each dead letter is a record and its marker.
    assert [len(records) // 2 for records in log.written] == [3, 2, 1, 1]


def refusing(log: Log, *values: bytes) -> None:
    log.refuses = lambda record: record.topic == ORIGIN and record.value in values


def test_a_refused_record_costs_no_other(log: Log) -> None:
    for offset in range(5):
        log.dead_letter(offset)
    refusing(log, b"value 1", b"value 3")
    result = log.replay(ReplayPolicy(on_error=OnError.DROP))
    assert sorted(record.value or b"" for record in log.returned()) == [b"value 0", b"value 2", b"value 4"]
    assert {cause for _, cause in result.failures} == {"Kafka rejects the record: MessageSizeTooLargeError"}
    assert (result.done[ReplayOutcome.DROPPED], result.failed) == (2, False)


def test_a_refused_record_stops_it_there_and_not_before(log: Log) -> None:
    for offset in range(4):
        log.dead_letter(offset)
    refusing(log, b"value 2")
    result = log.replay(ReplayPolicy())
    assert [record.value for record in log.returned()] == [b"value 0", b"value 1"]
    assert (result.stopped, result.failed, places([dead_letter for dead_letter, _ in result.failures])) == (
        True,
        True,
        [2],
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize("policy", [OnError.DROP, OnError.REQUEUE])
@pytest.mark.parametrize("fields", [{}, {"topic": GONE}], ids=["refused", "no topic"])
def test_where_not_even_that_can_be_said_the_dead_letter_stays_as_it_is(
    log: Log, policy: OnError, fields: dict[str, Any]
) -> None:
    log.dead_letter(0)
    log.dead_letter(1, **fields)
    log.dead_letter(2)
    log.refuses = lambda record: b"value 1" in (record.value or b"") or b"/1/" in (record.key or b"")
    result = log.replay(ReplayPolicy(on_error=policy))
    assert [record.value for record in log.returned()] == [b"value 0", b"value 2"]
    assert (result.failed, places([dead_letter for dead_letter, _ in result.failures])) == (True, [1])
    assert len(dead_letters_in(log)) == 3


def test_what_another_replay_has_done_meanwhile_is_not_done_again(log: Log) -> None:
    for offset in range(3):
        log.dead_letter(offset)
    refusing(log, b"value 1")
    other = Log({})
    other.topics, other.meanwhile = log.topics, lambda: None

    def meanwhile() -> None:
        if log.opened == 1:
            other.replay(ReplayPolicy(), Selection(origins=Origins(ORIGIN, 0, 0, 0)))

    log.meanwhile = meanwhile
    log.replay(ReplayPolicy(on_error=OnError.DROP))
    assert sorted(record.value or b"" for record in log.returned()) == [b"value 0", b"value 2"]


def test_a_dead_letter_whose_origin_is_hidden_is_not_dropped(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.dead_letter(0)
    shown = log.partitions

    def partitions(topic: str) -> Any:
        if topic == ORIGIN:
            raise ConfigError("TopicAuthorizationFailedError")
        return shown(topic)

    monkeypatch.setattr(log, "partitions", partitions)
    with pytest.raises(ConfigError):
        log.replay(ReplayPolicy(on_error=OnError.DROP))
    assert log.written == []
