"""`runstep dlq replay` on real Kafka: what comes back, what cannot, and what is done about that."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.kafka.dead_letters import ATTEMPT
from pipeline.records import InvalidRecord, Reason, Stage
from pipeline.tools.demo.embedded_broker import embedded_broker
from tests.servers.addresses import KafkaAddress
from tests.support.dlq_rig import STAMP, Box, dead_letter_box, where
from tests.support.events import step

OK, BAD_NEWS, WRONG = 0, 1, 78
GONE = "there-is-no-such-topic"


@pytest.fixture
def box(kafka: KafkaAddress, topic: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return dead_letter_box(kafka, topic, tmp_path, monkeypatch)


def values(records: list[Any]) -> list[bytes]:
    return sorted(record.value for record in records)


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that compression does not make smaller."""
    return random.Random(seed).randbytes(size)


# what comes back


@pytest.mark.parametrize(
    ("key", "value"), [(b"thread_1", b"\xff\x00{"), (None, b"{"), (b"", b""), (b"\xfe", b"x" * 200_000), (b"k", None)]
)
def test_what_comes_back_is_the_record_as_it_was(box: Box, key: bytes | None, value: bytes | None) -> None:
    headers = (("trace", b"\x00\xff"), ("trace", b"again"), ("runstep-attempt", b"7"))
    box.send(box.invalid(17, value, key=key, partition=2, headers=headers))
    assert box.run("replay", "--yes") == (OK, "replayed 1 dead letter\n", "")
    (back,) = box.records(box.origin)
    assert (back.partition, back.key, back.value) == (2, key, value)
    assert back.headers == [
        ("trace", b"\x00\xff"),
        ("trace", b"again"),
        ("runstep-replay-topic", box.origin.encode()),
        ("runstep-replay-partition", b"2"),
        ("runstep-replay-offset", b"17"),
        ("runstep-attempt", b"1"),
    ]
    assert back.timestamp > STAMP - 10**12
    assert back.timestamp != STAMP + 17


def test_a_dry_run_says_what_would_be_and_writes_nothing(box: Box) -> None:
    box.refuse([b"one", json.dumps(step()).encode(), b"three"])
    box.send(box.invalid(9, b"lost", topic=GONE))
    before = box.written(box.topic)
    code, out, err = box.run("replay", "--dry-run", "--any-topic")
    assert (code, out.splitlines()[-1]) == (BAD_NEWS, "would replay 3 dead letters")
    assert out.count(" replayed ") == 3
    assert out.count(f" {box.origin} │ replayed ") == 3
    assert out.count(" rejected again: invalid_json: ") == 2
    assert out.splitlines()[-3:-1] == [f"to topics: {box.origin} 3", "the daemon would reject again: invalid_json 2"]
    assert f"stays open: topic {GONE} does not exist" in out
    assert "the replay stopped there" in err
    answer = box.answer("replay", "--dry-run", "--any-topic", "--on-error", "drop")
    assert (answer["dry_run"], answer["replayed"], answer["dropped"]) == (True, 3, 1)
    assert answer["topics"] == {box.origin: 3}
    assert [(again["origin"]["offset"], again["reason"]) for again in answer["rejected_again"]] == [
        (0, "invalid_json"),
        (2, "invalid_json"),
    ]
    assert (box.written(box.topic), box.written(box.origin)) == (before, 0)
    assert box.answer("list")["found"] == 4


def test_twice_brings_nothing_twice_and_the_list_knows(box: Box) -> None:
    box.refuse([b"one", b"two", b"three"])
    assert box.answer("replay", "--yes")["replayed"] == 3
    written = box.written(box.origin)
    again = box.answer("replay", "--yes")
    assert (again["replayed"], again["closed_before"], again["failures"]) == (0, 3, [])
    assert values(box.returned()) == [b"one", b"three", b"two"]
    assert box.written(box.origin) == written
    assert box.answer("list")["found"] == 0
    states = {dead_letter["state"] for dead_letter in box.answer("list", "--all")["letters"]}
    assert states == {"replayed"}


def test_a_dead_letter_that_was_sent_twice_or_comes_again_later_is_replayed_once(box: Box) -> None:
    dead_letter = box.invalid(1, b"one")
    box.send(dead_letter, dead_letter)
    box.run("replay", "--yes")
    box.send(dead_letter)
    assert box.answer("replay", "--yes")["closed_before"] == 1
    assert values(box.returned()) == [b"one"]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_copy_that_outlives_those_of_another_partition_stays_closed(box: Box, gone: int) -> None:
    # A key of its own makes the same dead letter go to another partition.
    box.send(*(box.invalid(1, b"one", key=b"key %d" % number) for number in range(20)))
    assert {record.partition for record in box.records(box.topic)} == {0, 1}
    box.run("replay", "--yes")
    box.expire(box.topic, gone, -1)
    assert {record.partition for record in box.records(box.topic)} == {1 - gone}
    assert box.answer("replay", "--yes")["closed_before"] == 1
    assert values(box.returned()) == [b"one"]


def test_only_what_is_meant_comes_back_the_oldest_first(box: Box) -> None:
    box.refuse([b"0", b"1", b"2", b"3"])
    box.send(box.invalid(4, b"4", reason=Reason.TOO_DEEP))
    assert box.answer("replay", "--yes", "--limit", "1")["replayed"] == 1
    assert values(box.returned()) == [b"0"]
    assert box.answer("replay", "--yes", "--reason", "too_deep")["replayed"] == 1
    assert box.answer("replay", "--yes", "--origin", f"{box.origin}/2:0-9")["replayed"] == 1
    assert values(box.returned()) == [b"0", b"2", b"4"]
    answer = box.answer("list")
    assert sorted(dead_letter["origin"]["offset"] for dead_letter in answer["letters"]) == [1, 3]


def test_another_topic_gets_them_by_key_and_they_are_closed(box: Box, topic: Callable[..., str]) -> None:
    other = topic(partitions=2)
    box.send(*(box.invalid(offset, b"%d" % offset, key=b"same") for offset in range(6)))
    assert box.answer("replay", "--yes", "--to-topic", other)["replayed"] == 6
    assert len({record.partition for record in box.records(other)}) == 1
    assert values(box.records(other)) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert (box.written(box.origin), box.answer("list")["found"]) == (0, 0)
    code, out, err = box.run("replay", "--yes", "--to-topic", GONE)
    assert (code, out, err.count("\n")) == (WRONG, "", 1)


# attempts


def test_a_record_that_is_refused_again_and_again_ends(box: Box) -> None:
    box.refuse([b"{broken"])
    seen: set[tuple[int, int]] = set()
    for _ in range(5):
        box.run("replay", "--yes")
        for record in box.returned():
            if where(record) not in seen:
                seen.add(where(record))
                box.send(InvalidRecord(record, Stage.DECODE, Reason.INVALID_JSON, "again"))
    assert [dict(record.headers)[ATTEMPT] for record in sorted(box.returned(), key=lambda r: r.offset)] == [b"1", b"2"]
    code, out, _ = box.run("replay", "--yes")
    assert code == OK
    assert out.splitlines() == [
        "replayed 0 dead letters",
        "1 dead letter skipped: rejected --max-attempts times or more",
        "2 dead letters skipped: replayed, requeued or dropped before",
    ]
    (open_,) = box.answer("list")["letters"]
    assert open_["origin"]["attempt"] == 3
    assert box.answer("replay", "--yes", "--max-attempts", "4")["replayed"] == 1
    assert dict(box.returned()[-1].headers)["runstep-replay-offset"] == str(open_["origin"]["offset"]).encode()


# dead letters that are cut


@pytest.fixture
def cut(box: Box) -> Any:
    """A dead letter that holds the head of a record, which Kafka has at its origin."""
    whole = box.produce(noise(60_000), b"key", [("trace", b"1")])
    box.limit(box.topic, 20_000)
    box.send(InvalidRecord(whole, Stage.DECODE, Reason.NOT_UTF8, "why"))
    (dead_letter,) = box.answer("list")["letters"]
    assert (dead_letter["truncated"], dead_letter["bytes"]) == (True, 60_000)
    assert (
        "the first 10,000 of 60,000 bytes" in box.run("show", f"{dead_letter['partition']}:{dead_letter['offset']}")[1]
    )
    return whole


def test_the_whole_of_a_cut_dead_letter_comes_back(box: Box, cut: Any) -> None:
    assert box.answer("replay", "--yes")["replayed"] == 1
    (back,) = box.returned()
    assert (back.partition, back.key, back.value) == (1, b"key", cut.value)
    assert back.headers[0] == ("trace", b"1")


def test_a_cut_dead_letter_whose_origin_has_expired_cannot_come_back(box: Box, cut: Any) -> None:
    box.expire(box.origin, 1, cut.offset + 1)
    answer = box.answer("replay", "--yes", code=BAD_NEWS)
    ((failure),) = answer["failures"]
    assert failure["origin"]["offset"] == cut.offset
    assert "Kafka no longer holds the original" in failure["cause"]
    assert (answer["stopped"], box.returned()) == (True, [])
    code, _, err = box.run("replay", "--yes")
    assert (code, err.splitlines()[-1]) == (
        BAD_NEWS,
        "the replay stopped there; --on-error requeue or --on-error drop continues",
    )


# what cannot come back


@pytest.fixture
def lost(box: Box) -> Box:
    """Three dead letters, of which the second has no topic to go to."""
    box.send(box.invalid(0, b"0"))
    box.send(box.invalid(1, b"1", topic=GONE))
    box.send(box.invalid(2, b"2"))
    return box


def test_it_stops_at_the_first_that_cannot_come_back(lost: Box) -> None:
    for replayed in (1, 0):
        answer = lost.answer("replay", "--yes", "--any-topic", code=BAD_NEWS)
        assert (answer["replayed"], answer["stopped"], len(answer["failures"])) == (replayed, True, 1)
    assert values(lost.returned()) == [b"0"]
    assert lost.answer("list")["found"] == 2
    assert GONE not in lost.topics()


def test_it_puts_it_at_the_end_and_goes_on(lost: Box) -> None:
    answer = lost.answer("replay", "--yes", "--any-topic", "--on-error", "requeue", code=BAD_NEWS)
    assert (answer["replayed"], answer["requeued"], answer["stopped"]) == (2, 1, False)
    (dead_letter,) = lost.answer("list")["letters"]
    assert (dead_letter["origin"]["offset"], dead_letter["origin"]["attempt"], dead_letter["reason"]) == (
        1,
        2,
        "invalid_json",
    )
    copy = next(
        r
        for r in lost.records(lost.topic)
        if (r.partition, r.offset) == (dead_letter["partition"], dead_letter["offset"])
    )
    assert (copy.key, copy.value) == (b"thread_1", b"1")
    lost.answer("replay", "--yes", "--any-topic", "--on-error", "requeue", code=BAD_NEWS)
    last = lost.answer("replay", "--yes", "--any-topic", "--on-error", "requeue")
    assert (last["requeued"], last["exhausted"]) == (0, 1)
    assert values(lost.returned()) == [b"0", b"2"]


def test_it_drops_it_and_goes_on(lost: Box) -> None:
    code, out, err = lost.run("replay", "--yes", "--any-topic", "--on-error", "drop")
    assert (code, out.splitlines()) == (OK, ["replayed 2 dead letters", "1 dead letter cannot be replayed: dropped"])
    assert f"of {GONE}/1:1, cannot be replayed: topic {GONE} does not exist" in err
    assert lost.answer("list")["found"] == 0
    states = {
        dead_letter["origin"]["offset"]: dead_letter["state"] for dead_letter in lost.answer("list", "--all")["letters"]
    }
    assert states == {0: "replayed", 1: "dropped", 2: "replayed"}
    assert lost.answer("replay", "--yes", "--any-topic")["closed_before"] == 3


def test_what_the_broker_refuses_costs_no_other(box: Box) -> None:
    box.refuse([b"0", noise(50_000), b"2", noise(50_000, 2), b"4"])
    box.limit(box.origin, 20_000)
    stopped = box.answer("replay", "--yes", "--any-topic", code=BAD_NEWS)
    assert (stopped["replayed"], stopped["stopped"]) == (1, True)
    answer = box.answer("replay", "--yes", "--any-topic", "--on-error", "drop")
    assert (answer["replayed"], answer["dropped"], answer["closed_before"]) == (2, 2, 1)
    assert "Kafka rejects the record: MessageSizeTooLarge" in answer["failures"][0]["cause"]
    assert values(box.returned()) == [b"0", b"2", b"4"]


def test_a_dead_letter_that_not_even_its_own_topic_takes_any_more_stays(box: Box) -> None:
    box.refuse([b"0", noise(50_000), b"2"])
    for topic in (box.origin, box.topic):
        box.limit(topic, 20_000)
    answer = box.answer("replay", "--yes", "--any-topic", "--on-error", "requeue", code=BAD_NEWS)
    assert (answer["replayed"], answer["requeued"], len(answer["failures"])) == (2, 0, 1)
    (dead_letter,) = box.answer("list")["letters"]
    assert (dead_letter["origin"]["offset"], dead_letter["origin"]["attempt"]) == (1, 1)


def test_a_broker_that_only_pretends_is_found_out_before_anything_comes_back(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_broker() as address:
        monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", address)
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "chdb:unused")
        pretending = Box(address, box.origin, box.topic)
        pretending.make_topics()
        pretending.refuse([b"0"])
        code, out, err = pretending.run("replay", "--yes", "--any-topic")
        assert (code, out, err.count("\n")) == (WRONG, "", 1)
        assert "does not isolate transactions" in err
        assert pretending.written(box.origin) == 0
