"""`runstep dlq` without a Kafka: what a dead letter says, and which dead letters are meant."""

import time
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.commands import _dlq_options as options
from pipeline.commands._times import parse_time
from pipeline.errors import ConfigError
from pipeline.kafka.dead_letters import Place, replay_headers
from pipeline.kafka.log_reader import LogReader, TopicMissing
from pipeline.records import Reason, Stage
from pipeline.tools.dlq import Identity, Origins, ReplayOutcome, Selection, dead_letter_of
from pipeline.tools.dlq.dead_letter_records import marker_headers, marker_of, replayed, requeued
from tests.support.dead_letter_topic import DEAD_LETTERS, NOW, ORIGIN, Log

GONE = "there-is-no-such"


@pytest.fixture
def log() -> Log:
    return Log({ORIGIN: 2, DEAD_LETTERS: 2})


def places(dead_letters: list[Any]) -> list[int]:
    return [dead_letter.identity.offset for dead_letter in dead_letters]


# what lies in the topic


def test_a_dead_letter_is_read_as_the_daemon_wrote_it(log: Log) -> None:
    headers = (*replay_headers(Place("steps", 2, 5)), ("runstep-attempt", b"2"))
    record = log.dead_letter(7, headers=headers, reason=Reason.TOO_DEEP, stage=Stage.NORMALIZE)
    dead_letter = dead_letter_of(record)
    assert dead_letter is not None
    assert dead_letter.identity == (ORIGIN, 0, 7, NOW - 1_000 + 7, 3)
    assert (dead_letter.partition, dead_letter.offset, dead_letter.timestamp) == (0, 0, NOW)
    assert (dead_letter.reason, dead_letter.stage, dead_letter.size, dead_letter.sha256) == (
        "too_deep",
        "normalize",
        len(b"value 7"),
        "",
    )
    assert dead_letter.replayed_from == Place("steps", 2, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("runstep-partition", b"-1"),
        ("runstep-partition", b"one"),
        ("runstep-offset", b"-1"),
        ("runstep-truncated", b"-5"),
        ("runstep-attempt", b""),
        ("runstep-attempt", b"-1"),
        ("runstep-attempt", b"9" * 4_000),
        ("runstep-timestamp", b"9" * 5_000),
    ],
)
def test_damaged_headers_make_no_dead_letter_and_no_marker(log: Log, name: str, value: bytes) -> None:
    record = log.dead_letter(more=[(name, value)])
    assert dead_letter_of(record) is None
    topic = log.dead_letter_topic()
    assert (topic.dead_letters, topic.outcomes, topic.foreign) == ({}, {}, 1)


def test_a_record_of_somebody_else_is_neither(log: Log) -> None:
    log.append(
        DEAD_LETTERS, 0, b"key", b"value", [("runstep-replayed-of", b"a/0/0/0/1"), ("runstep-replay-outcome", b"?")]
    )
    assert log.dead_letter_topic().foreign == 1


@example("a/b//", (0, 1, 2, 3))
@given(st.text(max_size=20), st.tuples(*[st.integers(-1, 2**63)] * 4))
def test_a_marker_says_whose_it_is_whatever_the_topic_is_called(topic: str, numbers: tuple[int, int, int, int]) -> None:
    identity = Identity(topic, *numbers)
    assert marker_of(marker_headers(identity, ReplayOutcome.DROPPED)) == (identity, ReplayOutcome.DROPPED)


def test_what_comes_back_has_its_own_headers_its_origin_and_the_attempt() -> None:
    own = [("trace", b"1"), ("runstep-reason", b"old"), ("trace", None), ("runstep-attempt", b"1")]
    assert replayed(own, Identity("t", 3, 42, 5, 999_999), 2) == [
        ("trace", b"1"),
        ("trace", b""),
        ("runstep-replay-topic", b"t"),
        ("runstep-replay-partition", b"3"),
        ("runstep-replay-offset", b"42"),
        ("runstep-attempt", b"2"),
    ]


def test_a_dead_letter_put_at_the_end_differs_in_its_attempt_only(log: Log) -> None:
    record = log.dead_letter(4, headers=(("trace", b"1"),))
    first = dead_letter_of(record)
    assert first is not None
    copy = record._replace(offset=9, headers=requeued(record.headers, first.identity))
    second = dead_letter_of(copy)
    assert second is not None
    assert second.identity == first.identity._replace(attempt=2)
    kept = [pair for pair in record.headers if pair[0] != "runstep-attempt"]
    assert copy.headers == [*kept, ("runstep-attempt", b"2")]


def test_a_dead_letter_that_was_sent_twice_is_one_and_both_places_are_known(log: Log) -> None:
    log.dead_letter(5, lies_in=1)
    log.dead_letter(5, lies_in=0)
    log.dead_letter(5, lies_in=0)
    (dead_letter,) = log.dead_letter_topic().chosen(Selection())
    assert sorted(log.dead_letter_topic().partitions_of(dead_letter)) == [0, 1]


def test_only_what_came_since_is_read_the_next_time(log: Log) -> None:
    log.dead_letter(1)
    topic = log.dead_letter_topic()
    progress: list[tuple[int, int]] = []
    log.dead_letter(2)
    topic.read_new(lambda done, total: progress.append((done, total)))
    assert (places(topic.chosen(Selection())), progress[0], progress[-1]) == ([1, 2], (0, 1), (1, 1))


# which dead letters are meant


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(reasons={"too_deep"}), [1]),
        (Selection(stages={"sink", "normalize"}), [2, 3]),
        (Selection(since=NOW + 1_000), [1, 2, 3]),
        (Selection(until=NOW + 2_000), [0, 1]),
        (Selection(since=NOW + 1_000, until=NOW + 1_001), [1]),
        (Selection(origins=Origins(ORIGIN, 0)), [0, 1, 2]),
        (Selection(origins=Origins(ORIGIN, 1)), [3]),
        (Selection(origins=Origins(ORIGIN, 0, 1)), [1, 2]),
        (Selection(origins=Origins(ORIGIN, 0, 0, 1)), [0, 1]),
        (Selection(origins=Origins("other", 0)), []),
        (Selection(stages={"normalize"}, origins=Origins(ORIGIN, 1)), []),
    ],
)
def test_a_selection_means_what_all_its_parts_admit(log: Log, selection: Selection, meant: list[int]) -> None:
    log.dead_letter(0)
    log.dead_letter(1, reason=Reason.TOO_DEEP)
    log.dead_letter(2, stage=Stage.NORMALIZE)
    log.dead_letter(3, stage=Stage.SINK, partition=1)
    assert places(log.dead_letter_topic().chosen(selection)) == meant


def test_the_oldest_dead_letter_comes_first_wherever_it_lies(log: Log) -> None:
    log.dead_letter(0, lies_in=1)
    log.dead_letter(1, lies_in=0)
    log.dead_letter(2, lies_in=1)
    assert places(log.dead_letter_topic().chosen(Selection())) == [1, 0, 2]


# the command line


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("2026-01-31T12:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00.250Z", 1_769_860_800_250),
        (" 2026-01-31T14:00+02:00 ", 1_769_860_800_000),
        ("2026-01-31", 1_769_817_600_000),
    ],
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text: str | None, moment: int | None) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    ("age", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7_200), ("7d", 604_800), ("1w", 604_800)]
)
def test_an_age_counts_back_from_now(age: str, seconds: int) -> None:
    before = time.time()
    found = parse_time(age)
    assert found is not None
    assert before - seconds - 0.001 <= found / 1000 <= time.time() - seconds + 0.001


@pytest.mark.parametrize("text", ["", "2 hours", "h", "-2h", "yesterday", "2026-13-01", "1700000000"])
def test_no_time_at_all_is_named(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="2h or 7d"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, None),
        ("steps/3", Origins("steps", 3)),
        ("a.b-c_d/0:17", Origins("a.b-c_d", 0, 17, 17)),
        ("steps/3:1000-2000", Origins("steps", 3, 1000, 2000)),
        ("steps/3:1000-", Origins("steps", 3, 1000)),
    ],
)
def test_origins_are_a_partition_an_offset_or_a_range(text: str | None, meant: Origins | None) -> None:
    assert options.origins(text) == meant


@pytest.mark.parametrize("text", ["", "steps", "steps/", "steps/x", "steps/1:", "steps/1:-5", "a b/1", "steps/1:5-x"])
def test_other_origins_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="TOPIC/PARTITION"):
        options.origins(text)


@pytest.mark.parametrize(("text", "place"), [("0:17", (0, 17)), (" 12:0 ", (12, 0))])
def test_a_place_is_partition_and_offset(text: str, place: tuple[int, int]) -> None:
    assert options.place(text) == place


@pytest.mark.parametrize("text", ["", "17", "0:", ":1", "0:-1", "a:b", "0:1:2"])
def test_another_place_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="PARTITION:OFFSET"):
        options.place(text)


def test_the_options_become_one_selection() -> None:
    made = options.selection(["too_deep"], [Stage.SINK], "2026-01-31", "2026-02-01", "steps/1:5")
    assert made == Selection(
        frozenset({"too_deep"}),
        frozenset({"sink"}),
        1_769_817_600_000,
        1_769_904_000_000,
        Origins("steps", 1, 5, 5),
    )
    assert options.selection(None, None, None, None, None) == Selection(frozenset(), frozenset())


@pytest.mark.parametrize("word", ["invalid_jsno", "tombstone", "not_a_run_step"])
def test_a_reason_that_no_dead_letter_has_is_refused_with_those_there_are(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="there is no reason") as caught:
        options.selection([word], None, None, None, None)
    assert "invalid_json, too_deep" in str(caught.value)
    assert ", tombstone" not in str(caught.value)


# what Kafka hides is not gone


class Admin:
    def __init__(self, code: int) -> None:
        self.code = code

    def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        return [{"error_code": self.code, "partitions": []}]


@pytest.mark.parametrize(("code", "missing"), [(3, True), (17, True), (29, False), (5, False)])
def test_only_a_topic_that_is_not_there_counts_as_missing(code: int, missing: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        LogReader(Admin(code), None).partitions("steps")
    assert isinstance(caught.value, TopicMissing) is missing
