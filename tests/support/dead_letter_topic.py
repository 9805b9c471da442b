"""A Kafka in memory for `pipeline.tools.dlq`: logs that are read and written as `LogReader` and `Transactions` do.

log = Log({"steps": 2, "steps.dlq": 1}); log.dead_letter(); log.replay(ReplayPolicy())
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from kafka.structs import TopicPartition

from pipeline.kafka import dead_letters
from pipeline.kafka.log_reader import TopicMissing
from pipeline.records import InvalidRecord, Reason, Stage
from pipeline.tools.dlq import DeadLetterTopic, Replay, ReplayPolicy, ReplayResult, Selection
from pipeline.tools.dlq.replay import SliceLimits
from pipeline.tools.dlq.transactions import Outgoing, RecordRejected
from tests.support.fakes.kafka import FakeRecord

ORIGIN: Final = "steps"
DEAD_LETTERS: Final = "steps.dlq"
NOW: Final = 1_790_000_000_000


def invalid(offset: int, **fields: Any) -> InvalidRecord:
    """Return a rejected record of partition 0; `reason` and `stage` are the dead letter's, the rest is the record's."""
    reason, stage = fields.pop("reason", Reason.INVALID_JSON), fields.pop("stage", Stage.DECODE)
    record = FakeRecord(ORIGIN, 0, offset, NOW - 1_000 + offset, b"key", b"value %d" % offset)._replace(**fields)
    return InvalidRecord(record, stage, reason, "why")


class Log:
    """Topics with the records in them; what `LogReader` answers, and the `Transactions` of one writer.

    Attributes:
        refuses: says which records the broker does not take.
        meanwhile: called when a writer is recreated, as another replay might do something then.
        opened: how often one was made.
        written: the transactions.
    """

    def __init__(self, topics: dict[str, int]) -> None:
        self.topics: dict[str, list[list[FakeRecord]]] = {name: [[] for _ in range(n)] for name, n in topics.items()}
        self.refuses: Callable[[Outgoing], bool] = lambda _record: False
        self.meanwhile: Callable[[], None] = lambda: None
        self.opened = 0
        self.written: list[Sequence[Outgoing]] = []

    def append(self, topic: str, partition: int, key: Any, value: Any, headers: Sequence[Any]) -> FakeRecord:
        """Put a record at a log's end; time advances by a second from one to the next."""
        log = self.topics[topic][partition]
        log.append(FakeRecord(topic, partition, len(log), NOW + 1_000 * len(log), key, value, headers))
        return log[-1]

    def dead_letter(self, offset: int = 0, *, lies_in: int = 0, more: Sequence[Any] = (), **fields: Any) -> FakeRecord:
        """Put a dead letter there, as the daemon sends it; `more` are headers behind its own."""
        rejected = invalid(offset, **fields)
        value, headers = dead_letters.whole(rejected)
        return self.append(DEAD_LETTERS, lies_in, rejected.record.key, value, [*headers, *more])

    def cut_dead_letter(self, offset: int, kept: int, size: int, sha256: str, **fields: Any) -> FakeRecord:
        """Put a dead letter there that holds the head of its value."""
        more = [("runstep-truncated", str(size).encode()), ("runstep-sha256", sha256.encode())]
        whole = fields.pop("value", b"x" * size)
        return self.dead_letter(offset, more=more, value=whole[:kept], **fields)

    def dead_letter_topic(self) -> DeadLetterTopic:
        """Return the dead-letter topic, read to their end."""
        topic = DeadLetterTopic(self, DEAD_LETTERS)  # type: ignore[arg-type]
        topic.read_new()
        return topic

    def replay(
        self,
        policy: ReplayPolicy,
        selection: Selection | None = None,
        limit: int | None = None,
        limits: SliceLimits | None = None,
    ) -> ReplayResult:
        """Replay as the command does; return the result."""
        replay_run = Replay(self.dead_letter_topic(), policy, limits or SliceLimits())
        replay_run.run(replay_run.plan(selection or Selection(), limit), self, lambda _left: None)  # type: ignore[arg-type]
        return replay_run.result

    def returned(self) -> list[FakeRecord]:
        """Return what came back."""
        named = [record for log in self.topics[ORIGIN] for record in log]
        return [record for record in named if "runstep-replay-offset" in dict(record.headers)]

    def partitions(self, topic: str) -> list[TopicPartition]:
        if topic not in self.topics:
            raise TopicMissing(topic)
        return [TopicPartition(topic, number) for number in range(len(self.topics[topic]))]

    def bounds(self, partitions: Sequence[TopicPartition]) -> tuple[dict[Any, int], dict[Any, int]]:
        return dict.fromkeys(partitions, 0), {part: len(self.topics[part.topic][part.partition]) for part in partitions}

    def read(self, part: TopicPartition, start: int, end: int) -> Iterator[FakeRecord]:
        yield from self.topics[part.topic][part.partition][start:end]

    def at(self, part: TopicPartition, offsets: Sequence[int]) -> Iterator[FakeRecord]:
        yield from (record for record in self.topics[part.topic][part.partition] if record.offset in offsets)

    def open(self) -> None:
        self.opened += 1
        self.meanwhile()

    def write(self, records: Sequence[Outgoing]) -> None:
        if any(self.refuses(record) for record in records):
            raise RecordRejected("MessageSizeTooLargeError")
        self.written.append(records)
        for topic, partition, key, value, headers in records:
            self.append(topic, partition or 0, key, value, headers)
