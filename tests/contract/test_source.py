"""What `contracts.Source` promises, held by the fake and by kafka-python on real Apache Kafka."""

import time
from collections.abc import Callable, Iterator

import pytest
from kafka import TopicPartition

from pipeline.contracts import Assigned, OffsetsLost, Progress, Source
from pipeline.records import Partition
from tests.support.fakes.kafka import FakeBroker, FakeSource
from tests.support.member_reader import MemberReader
from tests.support.source_rig import World


class Fake:
    """The fake broker behind the suite's few verbs."""

    def __init__(self) -> None:
        self.broker = FakeBroker(partitions=2)
        self.topic = self.broker.topic

    def member(self) -> Source:
        return FakeSource(self.broker)

    def produce(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.broker.produce(value, partition)

    def expire(self, below: int) -> None:
        self.broker.expire(0, below)

    def close(self) -> None:
        """Nothing to release."""


class Real(World):
    """Real Kafka behind the same verbs."""

    def member(self) -> Source:
        return self.reader(session_timeout=6.0).member

    def expire(self, below: int) -> None:
        with self.admin() as admin:
            admin.delete_records({TopicPartition(self.topic, 0): below})


@pytest.fixture(params=["fake", "real"])
def kafka_world(request: pytest.FixtureRequest) -> Iterator[Fake | Real]:
    if request.param == "fake":
        yield Fake()
        return
    kafka = request.getfixturevalue("kafka")
    world = Real(kafka.bootstrap, request.getfixturevalue("topic")(partitions=2))
    yield world
    world.close()


def until(condition: Callable[[], bool], *readers: MemberReader[Source]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, [(reader.values(), reader.changes) for reader in readers]
        for reader in readers:
            reader.poll()


def lags(reader: MemberReader[Source]) -> dict[Partition, int]:
    return {partition: progress.lag for partition, progress in reader.member.progress().items()}


def commit(
    offsets: dict[Partition, int], reader: MemberReader[Source], *others: MemberReader[Source]
) -> frozenset[Partition]:
    """Commit as the processor does: what is deferred is tried again after the next poll."""
    deadline = time.monotonic() + 30
    while (committed := reader.member.commit(offsets)) is None:
        assert time.monotonic() < deadline, "no commit passed"
        for polling in (reader, *others):
            polling.poll()
    return committed


def test_delivers_no_more_than_it_is_asked_for_and_the_rest_later(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a", b"b", b"c")
    kafka_world.produce(b"d", partition=1)
    member = kafka_world.member()
    values: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(values) < 4 and time.monotonic() < deadline:
        polled = [record.value for records in member.poll(0.2, 1).values() for record in records]
        assert len(polled) <= 1
        member.changes()
        values += polled
    assert [value for value in values if value != b"d"] == [b"a", b"b", b"c"]
    assert len(values) == 4


def test_delivers_in_order_with_bytes_and_offsets(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a", b"b", b"c")
    reader = MemberReader(kafka_world.member())
    until(lambda: len(reader.records) == 3, reader)
    assert reader.values() == [b"a", b"b", b"c"]
    assert [record.offset for record in reader.records] == [0, 1, 2]
    assert {(record.topic, record.partition) for record in reader.records} == {(kafka_world.topic, 0)}
    reader.member.close()


def test_tells_of_an_assignment_before_or_with_its_first_records(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a")
    reader = MemberReader(kafka_world.member())
    until(lambda: bool(reader.records), reader)
    assert reader.owned == {Partition(kafka_world.topic, 0), Partition(kafka_world.topic, 1)}
    reader.member.close()


def test_a_join_that_ends_between_two_polls_counts(kafka_world: Fake | Real) -> None:
    members = [kafka_world.member(), kafka_world.member()]
    owned: list[set[Partition]] = [set(), set()]
    for _ in range(20):
        for member, partitions in zip(members, owned, strict=True):
            member.poll(0.001, 1_000)
            for change in member.changes():
                (partitions.add if isinstance(change, Assigned) else partitions.discard)(change.partition)
        if len(owned[0]) == len(owned[1]) == 1:
            break
        # Busy with something else, while the coordinator answers.
        time.sleep(0.2)
    assert len(owned[0] | owned[1]) == 2
    for member in members:
        member.close()


def test_a_successor_starts_at_the_committed_offset(kafka_world: Fake | Real) -> None:
    first = MemberReader(kafka_world.member())
    kafka_world.produce(b"a", b"b", b"c")
    until(lambda: len(first.records) == 3, first)
    partition = Partition(kafka_world.topic, 0)
    assert commit({partition: 2}, first) == {partition}
    first.member.close()
    second = MemberReader(kafka_world.member())
    until(lambda: bool(second.records), second)
    assert second.values() == [b"c"]
    second.member.close()


def test_uncommitted_records_come_again(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a")
    for _ in range(2):
        reader = MemberReader(kafka_world.member())
        until(lambda reader=reader: reader.values() == [b"a"], reader)  # type: ignore[misc]  # mypy infers no lambda with a default
        reader.member.close()


def test_held_it_delivers_nothing_and_released_it_delivers_all(kafka_world: Fake | Real) -> None:
    reader = MemberReader(kafka_world.member())
    until(lambda: len(reader.owned) == 2, reader)
    reader.member.pause()
    kafka_world.produce(b"a", b"b")
    for _ in range(5):
        reader.poll()
    assert not reader.records
    reader.member.resume()
    until(lambda: len(reader.records) == 2, reader)
    reader.member.close()


def test_a_second_member_takes_a_share_and_the_kept_partition_goes_on_where_it_was(kafka_world: Fake | Real) -> None:
    first = MemberReader(kafka_world.member())
    kafka_world.produce(b"a0", partition=0)
    kafka_world.produce(b"b0", partition=1)
    until(lambda: len(first.records) == 2, first)
    second = MemberReader(kafka_world.member())
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    assert not first.owned & second.owned
    kafka_world.produce(b"a1", partition=0)
    kafka_world.produce(b"b1", partition=1)
    until(lambda: len(first.records) == 3 and len(second.records) == 2, first, second)
    (kept,) = first.owned
    assert first.values()[2] == (b"a1" if kept.number == 0 else b"b1")
    assert second.values() == ([b"b0", b"b1"] if kept.number == 0 else [b"a0", b"a1"])
    first.member.close()
    second.member.close()


def test_a_commit_covers_only_what_is_ours(kafka_world: Fake | Real) -> None:
    first = MemberReader(kafka_world.member())
    until(lambda: len(first.owned) == 2, first)
    second = MemberReader(kafka_world.member())
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    (kept,) = first.owned
    (given,) = second.owned
    kafka_world.produce(b"x", partition=given.number)
    assert commit({kept: 0, given: 1}, first, second) == {kept}
    until(lambda: bool(second.records), first, second)
    assert second.values() == [b"x"]
    first.member.close()
    second.member.close()


def test_says_exactly_which_offsets_kafka_dropped(kafka_world: Fake | Real) -> None:
    kafka_world.produce(*[b"%d" % number for number in range(10)])
    first = MemberReader(kafka_world.member())
    until(lambda: len(first.records) == 10, first)
    partition = Partition(kafka_world.topic, 0)
    assert commit({partition: 3}, first) == {partition}
    first.member.close()
    kafka_world.expire(below=7)
    second = MemberReader(kafka_world.member())
    until(lambda: len(second.records) == 3, second)
    assert second.values() == [b"7", b"8", b"9"]
    assert OffsetsLost(partition, 3, 6) in second.changes
    second.member.close()


def test_lag_falls_to_zero(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a", b"b")
    reader = MemberReader(kafka_world.member())
    until(lambda: len(reader.records) == 2, reader)
    until(lambda: lags(reader) == dict.fromkeys(reader.owned, 0), reader)
    kafka_world.produce(b"c")
    reader.member.pause()
    until(lambda: lags(reader).get(Partition(kafka_world.topic, 0)) == 1, reader)
    reader.member.close()


def test_position_and_lag_add_up_to_the_end_and_a_halted_partition_is_where_it_starts_again(
    kafka_world: Fake | Real,
) -> None:
    kafka_world.produce(b"a", b"b", b"c")
    kafka_world.produce(b"d", partition=1)
    reader = MemberReader(kafka_world.member())
    until(lambda: len(reader.records) == 4, reader)
    halted, other = Partition(kafka_world.topic, 0), Partition(kafka_world.topic, 1)
    until(lambda: reader.member.progress().get(halted) == Progress(3, 0, 3), reader)
    assert commit({halted: 1, other: 1}, reader) == {halted, other}
    reader.member.halt(halted, "a test")
    until(lambda: reader.member.progress() == {halted: Progress(1, 1, 3), other: Progress(1, 1, 1)}, reader)
    kafka_world.produce(b"e")
    until(lambda: lags(reader) == {halted: 3, other: 0}, reader)
    reader.member.resume_halted(halted)
    until(lambda: len(reader.records) == 7, reader)
    assert reader.values()[4:] == [b"b", b"c", b"e"]
    until(lambda: reader.member.progress().get(halted) == Progress(4, 1, 4), reader)
    reader.member.close()


def test_closing_twice_is_harmless(kafka_world: Fake | Real) -> None:
    kafka_world.produce(b"a", b"b")
    first = MemberReader(kafka_world.member())
    until(lambda: len(first.records) == 2, first)
    first.member.close()
    first.member.close()
    second = MemberReader(kafka_world.member())
    until(lambda: len(second.records) == 2, second)
    second.member.close()
