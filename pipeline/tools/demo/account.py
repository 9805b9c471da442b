"""The proof at the end of the demo: what Kafka holds, against what the ledger says became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.client import client_options, connect

_QUIET_POLLS: Final = 2
_POLL_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Account:
    """What Kafka holds, by partition as the next offset, and the ledger's distinct offsets and outcomes."""

    held: Mapping[int, int]
    dead_letters: int
    recorded: Mapping[int, tuple[int, int]]
    """Partition to the number of distinct offsets and the highest of them."""
    outcomes: Mapping[str, int]

    @property
    def read(self) -> int:
        """Return the number of records in the ledger, each offset once."""
        return sum(count for count, _ in self.recorded.values())

    def faults(self) -> list[str]:
        """Return what does not add up; empty when everything does."""
        faults = []
        for partition, end in sorted(self.held.items()):
            count, highest = self.recorded.get(partition, (0, -1))
            if (count, highest) != (end, end - 1):
                faults.append(f"partition {partition}: Kafka holds {end} records, the ledger {count} up to {highest}")
        if self.read != sum(self.outcomes.values()):
            faults.append(f"read {self.read}, but {sum(self.outcomes.values())} outcomes")
        refused = self.outcomes.get("dead_lettered", 0)
        if refused > self.dead_letters:
            faults.append(f"{refused} records dead-lettered, but the dead-letter topic holds {self.dead_letters}")
        return faults


def take_account(settings: Settings, client: Any) -> Account:
    """Ask Kafka and the ledger.

    Raises:
        SourceUnavailable: Kafka cannot be reached.
    """
    ledger = f"{settings.clickhouse.database}.run_step_ledger FINAL"
    recorded = f"SELECT kafka_partition, uniqExact(kafka_offset), max(kafka_offset) FROM {ledger} GROUP BY 1"  # noqa: S608 - our own names
    # A record with several steps has a row for each, and is one record all the same.
    outcomes = f"SELECT outcome, uniqExact(kafka_partition, kafka_offset) FROM {ledger} GROUP BY 1"  # noqa: S608 - our own names
    held = held_records(settings.kafka, settings.kafka.topics[0])
    return Account(
        held=held,
        dead_letters=sum(held_records(settings.kafka, settings.dead_letter_topic).values()),
        recorded={row[0]: (row[1], row[2]) for row in client.query(recorded).result_rows},
        outcomes=dict(client.query(outcomes).result_rows),
    )


def held_records(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Return the offset behind the last record of each partition, as a reader finds it.

    What the embedded broker answers to the question for the latest offset lags behind, so the rest is read.

    Raises:
        SourceUnavailable: Kafka cannot be reached.
    """
    consumer = connect(KafkaConsumer, **client_options(settings), group_id=None, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, ends[partition])
        quiet = 0
        while quiet < _QUIET_POLLS:
            quiet = 0 if consumer.poll(_POLL_MS) else quiet + 1
        return {partition.partition: int(consumer.position(partition)) for partition in partitions}
    finally:
        consumer.close()
