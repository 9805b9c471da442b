"""`runstep dlq list` and `show` on real Kafka: the right dead letters, safely shown, and a line for every mistake."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaProducer

from pipeline.records import Reason, Stage
from tests.servers.addresses import KafkaAddress
from tests.servers.process import free_port
from tests.support.dlq_rig import STAMP, Box, dead_letter_box

OK, BAD_NEWS, USAGE, AWAY, WRONG = 0, 1, 64, 69, 78
KEY = "sk-proj-" + "A1b2C3d4" * 6


@pytest.fixture
def box(kafka: KafkaAddress, topic: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return dead_letter_box(kafka, topic, tmp_path, monkeypatch)


@pytest.fixture
def mixed(box: Box) -> Box:
    """Five dead letters of different kinds: offsets 0 to 4, the last of partition 1, the others of partition 0."""
    box.send(
        box.invalid(0, b"{", partition=0),
        box.invalid(1, b"{", partition=0, reason=Reason.TOO_DEEP),
        box.invalid(2, b"{}", partition=0, reason=Reason.MISSING_STEP_ID, stage=Stage.NORMALIZE),
        box.invalid(3, b"{}", partition=0, reason=Reason.REFUSED_BY_SINK, stage=Stage.SINK),
        box.invalid(4, b"{", partition=1, timestamp=-1),
    )
    return box


def offsets(box: Box, *options: str) -> list[int]:
    return sorted(dead_letter["origin"]["offset"] for dead_letter in box.answer("list", *options)["letters"])


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("--reason invalid_json", [0, 4]),
        ("-r too_deep --reason missing_step_id", [1, 2]),
        ("--stage normalize --stage sink", [2, 3]),
        ("--stage decode --reason too_deep", [1]),
        ("--origin {origin}/0", [0, 1, 2, 3]),
        ("--origin {origin}/0:2", [2]),
        ("--origin {origin}/0:1-2", [1, 2]),
        ("--origin {origin}/0:2-", [2, 3]),
        ("--origin other/0", []),
        ("--since 1h", [0, 1, 2, 3, 4]),
        ("--until 1h", []),
        ("--since 2100-01-01", []),
    ],
)
def test_every_filter_lists_what_it_means(mixed: Box, option: str, meant: list[int]) -> None:
    assert offsets(mixed, *option.format(origin=mixed.origin).split()) == meant


def test_dead_letters_are_listed_by_the_time_of_their_dead_lettering(box: Box) -> None:
    for offset in range(3):
        box.send(box.invalid(offset, b"{"))
    times = [dead_letter["dead_lettered"] for dead_letter in box.answer("list")["letters"]]
    assert times == sorted(times)
    middle = datetime.fromtimestamp(times[1] / 1000, UTC).isoformat()
    assert offsets(box, "--since", middle) == [1, 2]
    assert offsets(box, "--until", middle) == [0]


def test_the_json_says_everything_of_a_dead_letter(mixed: Box) -> None:
    answer = mixed.answer("list", "--reason", "too_deep")
    (dead_letter,) = answer["letters"]
    assert (answer["topic"], answer["found"]) == (mixed.topic, 1)
    assert dead_letter.pop("dead_lettered") > STAMP - 10**12
    place = {"partition": dead_letter.pop("partition"), "offset": dead_letter.pop("offset")}
    assert dead_letter == {
        "reason": "too_deep",
        "stage": "decode",
        "origin": {"topic": mixed.origin, "partition": 0, "offset": 1, "timestamp": STAMP + 1, "attempt": 1},
        "bytes": 1,
        "truncated": False,
        "attempt": 1,
        "state": "open",
    }
    code, out, _ = mixed.run("show", f"{place['partition']}:{place['offset']}")
    assert (code, "runstep-reason: too_deep" in out) == (OK, True)


def test_the_table_shows_each_dead_letter_on_a_line_and_counts_the_reasons(mixed: Box) -> None:
    mixed.send(mixed.invalid(0, b"{", partition=0))
    with KafkaProducer(bootstrap_servers=mixed.bootstrap) as producer:
        producer.send(mixed.topic, b"no dead letter")
    code, out, err = mixed.run("list")
    assert (code, err) == (OK, "")
    assert sum(mixed.origin in line for line in out.splitlines()) == 5
    assert f"{mixed.origin}/1:4" in out
    assert "5 open dead letters: invalid_json 2, " in out
    assert f"1 records of {mixed.topic} are not dead letters of runstep" in out
    assert "first 2 of 5" in mixed.run("list", "--limit", "2")[1]
    answer = mixed.answer("list", "--limit", "2")
    assert (answer["found"], len(answer["letters"])) == (5, 2)


def test_an_empty_topic_has_no_dead_letters(box: Box) -> None:
    assert box.run("list") == (OK, f"no open dead letters in {box.topic}\n", "")
    assert box.answer("list") == {"topic": box.topic, "found": 0, "letters": []}
    assert box.run("replay", "--yes") == (OK, "replayed 0 dead letters\n", "")


# show


def test_a_dead_letter_is_shown_without_secrets_and_without_escapes(box: Box) -> None:
    value = f'{{"api_key": "{KEY}", "who": "jane@example.org", "x": "\x1b[2J\x07\x9b\x9d", "broken'.encode()
    headers = (("evil\x1b", b"\x1b]0;owned\x07\nrunstep-reason: forged"),)
    box.send(box.invalid(7, value, key=b"k\x1b[31m\n", headers=headers))
    (dead_letter,) = box.answer("list")["letters"]
    code, out, _ = box.run("show", f"{dead_letter['partition']}:{dead_letter['offset']}")
    assert code == OK
    assert KEY not in out
    assert "jane@example.org" not in out
    assert [char for char in out if (ord(char) < 32 and char != "\n") or 0x7F <= ord(char) < 0xA0] == []
    reasons = [line for line in out.splitlines() if line.startswith("runstep-reason")]
    assert reasons == ["runstep-reason: invalid_json"]
    for said in (f"runstep-topic: {box.origin}", "runstep-partition: 1", "runstep-offset: 7", "runstep-attempt: 1"):
        assert said in out.splitlines()
    assert "key: k\u241b[31m\u240a" in out.splitlines()


@pytest.mark.parametrize("value", [b"\xff\x00\x1b[2J\r\n" + KEY.encode(), b"", None])
def test_raw_is_the_value_byte_for_byte(box: Box, value: bytes | None) -> None:
    box.send(box.invalid(0, value))
    (dead_letter,) = box.answer("list")["letters"]
    code, out, err = box.run("show", f"{dead_letter['partition']}:{dead_letter['offset']}", "--raw")
    assert (code, out.encode("utf-8", "surrogateescape"), err) == (OK, value or b"", "")


NO_DEAD_LETTER = "this record is not a dead letter of runstep, or its headers are damaged"


def test_a_record_of_somebody_else_is_shown_too(box: Box) -> None:
    with KafkaProducer(bootstrap_servers=box.bootstrap) as producer:
        producer.send(box.topic, b"hello", partition=1)
    code, out, _ = box.run("show", "1:0")
    assert (code, out.splitlines()[1:]) == (OK, [NO_DEAD_LETTER, "key: null", "hello"])


def test_where_there_is_no_record_it_says_so(box: Box) -> None:
    box.send(box.invalid(0, b"{"))
    code, out, err = box.run("show", "0:99")
    assert (code, out) == (BAD_NEWS, "")
    assert err == f"runstep: {box.topic} holds no record at 0:99; `runstep dlq list` shows what it holds\n"
    code, out, err = box.run("show", "9:0")
    assert (code, out, err) == (WRONG, "", f"runstep: topic {box.topic} has no partition 9\n")


# mistakes and outages

COMMANDS = (("list",), ("show", "0:0"), ("replay", "--yes"), ("replay", "--dry-run"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_dead_letter_topic_is_named_on_one_line(
    box: Box, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_DEAD_LETTER__TOPIC", "there-is-no-such.dlq")
    code, out, err = box.run(*command)
    assert (code, out, err.count("\n")) == (WRONG, "", 1)
    assert err.startswith("runstep: topic there-is-no-such.dlq does not exist")
    assert "there-is-no-such.dlq" not in box.topics()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_kafka_that_is_away_is_named_on_one_line(
    box: Box, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", address)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "1")
    code, out, err = box.run(*command)
    assert (code, out, err.count("\n")) == (AWAY, "", 1)
    assert err.startswith(f"runstep: Kafka at {address}: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--reason", "nonsense"),
        ("list", "--stage", "nonsense"),
        ("list", "--since", "yesterday"),
        ("list", "--origin", "steps"),
        ("list", "--limit", "0"),
        ("show", "17"),
        ("replay", "--max-attempts", "0"),
        ("replay", "--on-error", "ignore"),
        ("replay", "--to-topic", "{dead_letters}"),
    ],
    ids=" ".join,
)
def test_a_wrong_word_is_usage_and_writes_nothing(mixed: Box, arguments: tuple[str, ...]) -> None:
    before = mixed.written(mixed.topic)
    code, out, err = mixed.run(*(word.format(dead_letters=mixed.topic) for word in arguments))
    assert (code, out, err.count("\n")) == (USAGE, "", 1)
    assert mixed.written(mixed.topic) == before
