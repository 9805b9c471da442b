"""A producer that leaves its transaction open, as one does that hangs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kafka import KafkaProducer

QUARTER_OF_AN_HOUR_MS: Final = 900_000
"""So long Kafka lets a transaction be open before it ends it; no broker allows more by default."""


@contextmanager
def open_transaction(
    bootstrap: str, topic: str, *values: bytes, transactional_id: str = "", partition: int = 0
) -> Iterator[KafkaProducer]:
    """Open a transaction with these records, and leave it open: only the test ends it."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id or f"open-{topic}",
        transaction_timeout_ms=QUARTER_OF_AN_HOUR_MS,
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for value in values:
            producer.send(topic, value=value, partition=partition)
        producer.flush(timeout=20)
        yield producer
    finally:
        producer.close(timeout=2)
