"""What `Transactions` makes of the ways in which a producer fails; what a broker really does is for `integration`."""

from collections.abc import Sequence
from typing import Any

import pytest
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    ProducerFencedError,
    TopicAuthorizationFailedError,
)

from pipeline.config import Settings
from pipeline.errors import ServiceUnavailable
from pipeline.tools.dlq import Superseded, Transactions
from pipeline.tools.dlq.transactions import Outgoing, RecordRejected

RECORD = Outgoing("steps", 0, b"key", b"value", [])


class Sent:
    def __init__(self, exception: Exception | None) -> None:
        self.exception = exception

    def failed(self) -> bool:
        return self.exception is not None

    def get(self, timeout: float) -> None:
        assert self.exception is None


class Producer:
    """Fails as the test says: each word is what becomes of a record, one that is raised is raised by `send`."""

    def __init__(self, fates: Sequence[Exception | None], raised: Exception | None) -> None:
        self.fates = list(fates)
        self.raised = raised
        self.ended: list[str] = []

    def send(self, *_record: Any) -> Sent:
        if not self.fates and self.raised:
            raise self.raised
        return Sent(self.fates.pop(0))

    def begin_transaction(self) -> None: ...

    def flush(self, timeout: float) -> None: ...

    def commit_transaction(self) -> None:
        self.ended.append("commit")

    def abort_transaction(self) -> None:
        self.ended.append("abort")


def write(*fates: Exception | None, raised: Exception | None = None) -> list[str]:
    """Write as many records as there are fates, and one more where one is raised; return how it was ended."""
    transactions = Transactions(Settings())
    producer = transactions._producer = Producer(fates, raised)
    try:
        transactions.write([RECORD] * (len(fates) + (raised is not None)))
    finally:
        write.ended = producer.ended  # type: ignore[attr-defined]
    return producer.ended


def blocked(cause: Exception) -> KafkaError:
    """Return what the client says of a record that comes after one that has failed."""
    return KafkaError("Cannot perform send because at least one previous request has failed with errors.", cause)


def test_what_all_have_taken_is_committed() -> None:
    assert write(None, None) == ["commit"]


@pytest.mark.parametrize(
    ("fates", "raised", "kind"),
    [
        ([MessageSizeTooLargeError()], None, RecordRejected),
        ([None, KafkaError("in an error state"), MessageSizeTooLargeError()], None, RecordRejected),
        ([None], MessageSizeTooLargeError("beyond max_request_size"), RecordRejected),
        ([MessageSizeTooLargeError()], blocked(MessageSizeTooLargeError()), RecordRejected),
        ([None], blocked(MessageSizeTooLargeError()), RecordRejected),
        ([ProducerFencedError()], None, Superseded),
        ([MessageSizeTooLargeError(), InvalidProducerEpochError()], None, Superseded),
        ([], blocked(ProducerFencedError()), Superseded),
        ([TopicAuthorizationFailedError()], None, ServiceUnavailable),
        ([None], KafkaTimeoutError("no metadata"), ServiceUnavailable),
        ([None, NotLeaderForPartitionError()], None, ServiceUnavailable),
        ([None], blocked(NotLeaderForPartitionError()), ServiceUnavailable),
    ],
)
def test_a_failure_is_the_records_the_others_or_kafkas_and_never_committed(
    fates: list[Exception | None], raised: Exception | None, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        write(*fates, raised=raised)
    assert write.ended == (["abort"] if kind is RecordRejected else [])  # type: ignore[attr-defined]
