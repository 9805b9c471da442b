"""What `contracts.DeadLetterQueue` promises, on the fake and on real Apache Kafka; and what only Kafka can show."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from pipeline.config import KafkaSettings
from pipeline.contracts import DeadLetterQueue
from pipeline.errors import DeadLetterUnavailable
from pipeline.kafka.dead_letters import KafkaDeadLetters
from pipeline.records import InvalidRecord, Reason, Stage, UnreadRecord
from tests.servers.addresses import KafkaAddress
from tests.support.fakes.kafka import FakeDeadLetters, FakeRecord

TIMEOUT = 4.0


def dead_letter(
    value: bytes = b"{broken", headers: tuple[tuple[str, bytes], ...] = (), detail: str = "why"
) -> InvalidRecord:
    record = FakeRecord("run-steps", 3, 42, 1_764_000_000_123, b"thread_1", value, headers)
    return InvalidRecord(record, Stage.DECODE, Reason.INVALID_JSON, detail)


class Read:
    """Dead letters as someone who reads the topic sees them."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        self._consumer.assign([TopicPartition(topic, 0)])
        self.records: list[Any] = []

    def __call__(self, count: int) -> list[Any]:
        for _ in range(50):
            for records in self._consumer.poll(timeout_ms=200).values():
                self.records.extend(records)
            if len(self.records) >= count:
                break
        return self.records

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def dead_letters_topic(topic: Callable[..., str]) -> str:
    return topic(config={"max.message.bytes": "20000"})


@pytest.fixture
def real(kafka: KafkaAddress, dead_letters_topic: str) -> Iterator[KafkaDeadLetters]:
    queue = KafkaDeadLetters(
        lambda: KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), dead_letters_topic, TIMEOUT, 30_000_000
    )
    yield queue
    queue.close()


@pytest.fixture
def read(kafka: KafkaAddress, dead_letters_topic: str) -> Iterator[Read]:
    reader = Read(kafka.bootstrap, dead_letters_topic)
    yield reader
    reader.close()


@pytest.fixture(params=["fake", "real"])
def queue_and_keys(
    request: pytest.FixtureRequest,
) -> tuple[DeadLetterQueue, Callable[[int], list[tuple[bytes | None, bytes | None]]]]:
    if request.param == "fake":
        fake = FakeDeadLetters()
        return fake, lambda _count: [(kept.record.key, kept.record.value) for kept in fake.dead_letters]
    read = request.getfixturevalue("read")
    return request.getfixturevalue("real"), lambda count: [(record.key, record.value) for record in read(count)]


def test_keeps_key_and_bytes_of_every_dead_letter(queue_and_keys: tuple) -> None:
    queue, kept = queue_and_keys
    queue.send([dead_letter(b"\xff\x00"), dead_letter(b"")])
    assert kept(2) == [(b"thread_1", b"\xff\x00"), (b"thread_1", b"")]


def test_sending_nothing_is_fine(queue_and_keys: tuple) -> None:
    queue, kept = queue_and_keys
    queue.send([])
    assert kept(0) == []


def test_headers_tell_where_it_came_from_and_why(real: KafkaDeadLetters, read: Read) -> None:
    real.send([dead_letter(headers=(("trace", b"abc"), ("trace", b"def")))])
    (record,) = read(1)
    assert record.headers[:2] == [("trace", b"abc"), ("trace", b"def")]
    added = dict(record.headers[2:])
    assert added.pop("runstep-version")
    assert added == {
        "runstep-reason": b"invalid_json",
        "runstep-stage": b"decode",
        "runstep-detail": b"why",
        "runstep-topic": b"run-steps",
        "runstep-partition": b"3",
        "runstep-offset": b"42",
        "runstep-timestamp": b"1764000000123",
        "runstep-attempt": b"1",
    }
    assert record.timestamp > 1_764_000_000_123


def test_a_record_that_nobody_could_read_has_a_dead_letter_with_its_place(real: KafkaDeadLetters, read: Read) -> None:
    real.send([InvalidRecord(UnreadRecord("run-steps", 3, 42), Stage.FETCH, Reason.UNREADABLE, "failed crc check")])
    (sent,) = read(1)
    said = {name: value.decode() for name, value in sent.headers}
    assert (sent.key, sent.value) == (None, b"")
    assert (said["runstep-topic"], said["runstep-partition"], said["runstep-offset"]) == ("run-steps", "3", "42")
    assert said["runstep-stage"] == "fetch"


REPLAYED_FROM = [
    ("runstep-replay-topic", b"run-steps"),
    ("runstep-replay-partition", b"3"),
    ("runstep-replay-offset", b"17"),
]


def test_a_dead_letter_that_comes_again_counts_its_attempts(real: KafkaDeadLetters, read: Read) -> None:
    real.send([dead_letter(headers=(*REPLAYED_FROM, ("runstep-attempt", b"2"), ("runstep-reason", b"old")))])
    (record,) = read(1)
    named = [name for name, _ in record.headers]
    assert named.count("runstep-reason") == 1
    said = dict(record.headers)
    assert said["runstep-attempt"] == b"3"
    assert {name: said[name] for name, _ in REPLAYED_FROM} == dict(REPLAYED_FROM)


@pytest.mark.parametrize(
    "origin",
    [
        [],
        REPLAYED_FROM[:2],
        [*REPLAYED_FROM[:2], ("runstep-replay-offset", b"-1")],
        [*REPLAYED_FROM[1:], ("runstep-replay-topic", b"\xff")],
        [*REPLAYED_FROM, ("runstep-replay-partition", b"9" * 5_000)],
    ],
    ids=["none", "half", "negative", "no topic", "too long"],
)
def test_an_attempt_without_the_headers_of_a_replay_is_not_believed(
    real: KafkaDeadLetters, read: Read, origin: Any
) -> None:
    real.send([dead_letter(headers=(*origin, ("runstep-attempt", b"999999")))])
    (record,) = read(1)
    said = dict(record.headers)
    assert said["runstep-attempt"] == b"1"
    assert not [name for name in said if name.startswith("runstep-replay-")]


def test_no_credential_reaches_a_header(real: KafkaDeadLetters, read: Read) -> None:
    real.send([dead_letter(detail="refused: Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789")])
    (record,) = read(1)
    assert b"abcdefghijklmnopqrstuvwxyz" not in dict(record.headers)["runstep-detail"]


@pytest.mark.parametrize("size", [50_000, 2_000_000])
def test_a_dead_letter_too_large_for_the_topic_is_cut_and_says_so(
    real: KafkaDeadLetters, read: Read, size: int
) -> None:
    # Random bytes, since the topic's limit holds for what is left after compression.
    value = __import__("random").Random(1).randbytes(size)
    real.send([dead_letter(b"small"), dead_letter(value), dead_letter(b"small too")])
    records = read(3)
    cut = next(record for record in records if record.value not in {b"small", b"small too"})
    assert value.startswith(cut.value)
    assert dict(cut.headers)["runstep-truncated"] == str(size).encode()
    assert len(records) == 3


def test_a_missing_topic_is_named(kafka: KafkaAddress) -> None:
    queue = KafkaDeadLetters(
        lambda: KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), "there-is-no-such.dlq", 1.0, 1_000_000
    )
    with pytest.raises(DeadLetterUnavailable, match=r"there-is-no-such\.dlq"):
        queue.send([dead_letter()])
    queue.close()


def test_a_key_that_alone_is_too_large_goes_last_and_holds_nobody_up(real: KafkaDeadLetters, read: Read) -> None:
    key = __import__("random").Random(2).randbytes(50_000)
    record = FakeRecord("run-steps", 3, 42, 1_764_000_000_123, key, b"{broken")
    real.send([InvalidRecord(record, Stage.DECODE, Reason.INVALID_JSON, "why")])
    (cut,) = read(1)
    assert (cut.key, cut.value) == (None, b"")
    assert dict(cut.headers)["runstep-truncated"] == b"7"
    assert dict(cut.headers)["runstep-offset"] == b"42"


def test_dead_letters_that_fit_alone_are_sent_whole_also_when_together_they_fill_a_batch(
    real: KafkaDeadLetters, read: Read
) -> None:
    # The producer puts several of them into one batch, which is then too large for the topic.
    values = [__import__("random").Random(number).randbytes(9_000) for number in range(6)]
    real._delivery_ms, real._producer = 4_000, None
    producer = real._connected()
    producer.config["linger_ms"] = 200
    real.send([dead_letter(value, headers=(("trace", b"abc"),)) for value in values])
    records = read(6)
    assert sorted(record.value for record in records) == sorted(values)
    assert all(dict(record.headers)["trace"] == b"abc" for record in records)
    assert not any("runstep-truncated" in dict(record.headers) for record in records)
