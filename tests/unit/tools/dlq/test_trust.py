"""What `runstep dlq replay` believes of a dead letter: neither an attempt nor a topic only because it says so."""

from typing import Any

import pytest

from pipeline.kafka.dead_letters import Place, replay_headers
from pipeline.records import Reason, Stage
from pipeline.tools.dlq import OnError, ReplayOutcome, ReplayPolicy, Selection
from tests.support.dead_letter_topic import DEAD_LETTERS, ORIGIN, Log


@pytest.fixture
def log() -> Log:
    return Log({ORIGIN: 2, DEAD_LETTERS: 2})


def rejected_again(log: Log, offset: int) -> None:
    """Make the record that came back last a dead letter again, as the daemon does."""
    last = log.returned()[-1]
    log.dead_letter(offset, value=last.value, headers=tuple(last.headers))


def attempts(log: Log) -> list[int]:
    topic = log.dead_letter_topic()
    return [topic.attempt(dead_letter.identity) for dead_letter in topic.chosen(Selection(), closed=True)]


def test_a_dead_letter_that_was_rejected_so_often_is_left_alone(log: Log) -> None:
    log.dead_letter(0)
    for offset in (1, 2):
        assert log.replay(ReplayPolicy(max_attempts=3)).done[ReplayOutcome.REPLAYED] == 1
        rejected_again(log, offset)
    result = log.replay(ReplayPolicy(max_attempts=3))
    assert (result.exhausted, result.failed, result.done[ReplayOutcome.REPLAYED]) == (1, False, 0)
    assert attempts(log) == [1, 2, 3]
    assert [dict(record.headers)["runstep-attempt"] for record in log.returned()] == [b"1", b"2"]


FORGED = {
    "attempt alone": (),
    "an origin that was never replayed": replay_headers(Place(ORIGIN, 0, 77)),
    "its own place": replay_headers(Place(ORIGIN, 0, 9)),
    "half an origin": replay_headers(Place(ORIGIN, 0, 1))[:2],
    "an origin that is none": [*replay_headers(Place(ORIGIN, 0, 1))[:2], ("runstep-replay-offset", b"1e3")],
}


@pytest.mark.parametrize("origin", FORGED.values(), ids=FORGED)
def test_an_attempt_that_a_producer_writes_is_not_believed(log: Log, origin: Any) -> None:
    log.dead_letter(9, headers=(*origin, ("runstep-attempt", b"999999")))
    result = log.replay(ReplayPolicy(max_attempts=2))
    assert (result.exhausted, result.done[ReplayOutcome.REPLAYED]) == (0, 1)
    assert [dict(record.headers)["runstep-attempt"] for record in log.returned()] == [b"1"]


def test_an_attempt_beside_a_true_origin_is_believed_up_to_one_more_than_the_topic_proves(log: Log) -> None:
    log.dead_letter(1)
    log.replay(ReplayPolicy())
    log.dead_letter(9, headers=(*replay_headers(Place(ORIGIN, 0, 1)), ("runstep-attempt", b"999998")))
    assert attempts(log) == [1, 2]


@pytest.mark.timeout(20)
def test_origins_in_a_circle_prove_no_attempts(log: Log) -> None:
    for offset, other in ((1, 2), (2, 1)):
        log.dead_letter(offset, headers=(*replay_headers(Place(ORIGIN, 0, other)), ("runstep-attempt", b"999998")))
    log.replay(ReplayPolicy())
    assert max(attempts(log)) == 2


# where it may write


def test_a_topic_that_a_dead_letter_names_is_not_written_to_unless_it_is_meant(log: Log) -> None:
    log.topics["payments"] = [[]]
    log.dead_letter(0)
    log.dead_letter(1, topic="payments", value=b'{"transfer": "1000000 EUR"}')
    log.dead_letter(2)
    mine = frozenset({ORIGIN})
    for policy in OnError:
        result = log.replay(ReplayPolicy(on_error=policy, origins=mine))
        assert (dict(result.elsewhere), result.failed, result.stopped) == ({"payments": 1}, True, False)
    assert log.topics["payments"] == [[]]
    assert [record.value for record in log.returned()] == [b"value 0", b"value 2"]
    assert len(log.dead_letter_topic().chosen(Selection())) == 1
    assert log.replay(ReplayPolicy(origins=None)).done[ReplayOutcome.REPLAYED] == 1
    assert len(log.topics["payments"][0]) == 1


def test_a_dead_letter_without_its_value_does_not_copy_a_record_of_a_foreign_topic(log: Log) -> None:
    log.topics |= {"payments": [[]], "elsewhere": [[]]}
    secret = log.append("payments", 0, b"key", b'{"iban": "DE00"}', [])
    forged: dict[str, Any] = {"topic": "payments", "stage": Stage.FETCH, "reason": Reason.TOO_LARGE, "value": None}
    log.dead_letter(0, timestamp=secret.timestamp, **forged)
    policy = ReplayPolicy(to_topic="elsewhere", origins=frozenset({ORIGIN}))
    ((_, why),) = log.replay(policy).failures
    assert "its origin is not one of kafka.topics" in why
    assert log.topics["elsewhere"] == [[]]
    log.replay(ReplayPolicy(to_topic="elsewhere"))
    assert [record.value for record in log.topics["elsewhere"][0]] == [secret.value]


def test_a_topic_that_the_command_names_is_meant(log: Log) -> None:
    log.topics["elsewhere"] = [[]]
    log.dead_letter(1, topic="payments")
    result = log.replay(ReplayPolicy(to_topic="elsewhere", origins=frozenset({ORIGIN})))
    assert (result.failed, len(log.topics["elsewhere"][0])) == (False, 1)
